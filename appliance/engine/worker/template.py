"""Renders a model's own chat template, which is code from a file nobody wrote here.

The sandbox keeps it from Python's internals, the output is capped, and whatever
it raises refuses the request. It does not bound time: a template that never ends
is ended by the supervisor, which kills the process. Hence: worker processes only.
"""

import datetime as dt

from appliance.engine.port import Message
from appliance.errors import RequestRefusedError
from appliance.template_environment import TEMPLATE_FAULTS, chat_environment

MAX_PROMPT_CHARS = 8 * 2**20
"""Longest prompt that a template may render.

Unit: characters. Twice the default HTTP body.
"""


class ChatTemplate:
    """One model's template, compiled once.

    Raises:
        RequestRefusedError: It does not compile.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        environment = chat_environment(bos_token=bos_token, eos_token=eos_token)
        try:
            self._template = environment.from_string(source)
        except TEMPLATE_FAULTS as error:
            raise _refusal("does not compile", error) from error

    def render(self, messages: tuple[Message, ...], *, now: dt.datetime) -> str:
        """Return the prompt of a conversation, ready for the assistant's turn.

        Raises:
            RequestRefusedError: The template refuses the messages, fails on them,
                or renders more than :data:`MAX_PROMPT_CHARS`.
        """
        parts: list[str] = []
        size = 0
        pieces = self._template.generate(
            messages=[{"role": m.role, "content": m.content} for m in messages],
            add_generation_prompt=True,
            strftime_now=now.strftime,
            tools=None,
            documents=None,
        )
        try:
            for piece in pieces:
                size += len(piece)
                if size > MAX_PROMPT_CHARS:
                    raise RequestRefusedError(
                        "the rendered prompt is too large", param="messages"
                    )
                parts.append(piece)
        except TEMPLATE_FAULTS as error:
            raise _refusal("refuses these messages", error) from error
        return "".join(parts)


def _refusal(what: str, error: Exception) -> RequestRefusedError:
    # A template can spell half of a surrogate pair, which no frame can carry.
    why = str(error)[:200].encode("utf-8", "replace").decode()
    return RequestRefusedError(
        f"the model's chat template {what}: {why}", param="messages"
    )
