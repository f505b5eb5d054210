"""The sandbox in which chat templates run, at import and for every request.

A template that passed the import must find the same names when it serves. The
sandbox keeps it from Python's internals; it bounds neither time nor memory, so
templates run only in processes that can be killed.

Source: Hugging Face Transformers, "Chat templates" (the names that templates use).
"""

import json
from typing import NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a template can raise by what it says; anything else is a bug here.

``RuntimeError`` holds ``RecursionError``. ``SyntaxError`` is Python's own, about
the code that Jinja makes of a template, and ``NameError`` comes of such code.
"""


class TemplateRefusedError(jinja2.TemplateRuntimeError):
    """The template called ``raise_exception``: it does not want these messages."""


def chat_environment(*, bos_token: str, eos_token: str) -> jinja2.Environment:
    """Return an environment that knows what chat templates expect to find."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _GenerationTag],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["bos_token"] = bos_token
    environment.globals["eos_token"] = eos_token
    return environment


class _GenerationTag(Extension):
    """``{% generation %}``: marks what was generated, for training; no effect here."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads it as a plain class attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside the tag, unchanged."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(value: object, indent: int | None = None) -> str:
    """Return JSON as templates expect it: without the HTML escapes of Jinja's own."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateRefusedError(str(message)[:200])
