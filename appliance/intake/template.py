"""Checks that a model's chat template is a program that can be run here.

A template comes with the model and is code. It is compiled and rendered once,
in the sandbox it will serve in, inside the confined examiner: what loops for
ever or doubles a string without end meets the limits of that process.
"""

import jinja2

from appliance.template_environment import (
    TEMPLATE_FAULTS,
    TemplateRefusedError,
    chat_environment,
)
from bundleformat.errors import LimitExceededError, MalformedError

WHERE = "tokenizer.chat_template"

SAMPLE = (
    {"role": "system", "content": "You are the guard of a gate."},
    {"role": "user", "content": "Who goes there?"},
    {"role": "assistant", "content": "A friend."},
    {"role": "user", "content": "Pass."},
)
"""A conversation that every chat template has to be able to write down."""

MAX_RENDERED_CHARACTERS = 65_536
"""Longest rendering of the sample. Unit: characters."""


def check_template(source: str | None) -> None:
    """Compile ``source`` and render the sample with it; None is no template.

    A template that refuses the sample on purpose, with ``raise_exception``
    because it knows no system role, is asked again without that turn.

    Raises:
        MalformedError: It does not compile, fails, or writes nothing.
        LimitExceededError: It writes too much, or needs too much memory.
    """
    if source is None:
        return
    try:
        # The marks stand for the model's own, which are not read here.
        environment = chat_environment(bos_token="<s>", eos_token="</s>")  # noqa: S106 - no secrets
        template = environment.from_string(source)
        try:
            length = _rendered_length(template, skip=0)
        except TemplateRefusedError:
            length = _rendered_length(template, skip=1)
    except (MemoryError, RecursionError) as error:
        raise LimitExceededError(
            "the chat template needs too much memory", where=WHERE
        ) from error
    except TEMPLATE_FAULTS as error:
        raise MalformedError(
            "the chat template fails", where=WHERE, actual=type(error).__name__
        ) from error
    if length == 0:
        raise MalformedError("the chat template writes nothing", where=WHERE)


def _rendered_length(template: jinja2.Template, *, skip: int) -> int:
    length = 0
    for piece in template.generate(
        messages=list(SAMPLE[skip:]),
        add_generation_prompt=True,
        strftime_now=lambda _format: "1 Jan 2026",
        tools=None,
        documents=None,
    ):
        length += len(piece)
        if length > MAX_RENDERED_CHARACTERS:
            raise LimitExceededError(
                "the chat template writes too much",
                where=WHERE,
                expected=f"at most {MAX_RENDERED_CHARACTERS} characters",
            )
    return length
