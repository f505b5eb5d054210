"""What a command learns from the machine it runs on: the time, and a person."""

import datetime as dt
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from bundler.signing.passphrase import Ask


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Travels to every command as the context's object.

    Attributes:
        now: The time at which the program was called.
        ask: How to ask for a passphrase, or None without a terminal.
        answer: How to ask what may be seen being typed; None without a terminal.
    """

    now: dt.datetime
    ask: Ask | None
    answer: Ask | None = None


def runtime_of(context: typer.Context) -> Runtime:
    """Return the runtime the program was started with."""
    found = context.find_object(Runtime)
    if found is None:
        raise RuntimeError("a command was called without a runtime")
    return found


def terminal_question() -> Ask | None:
    """Return a way to ask the person at this terminal, or None without one.

    The question goes to stderr: stdout is for data.
    """
    if not sys.stdin.isatty():
        return None

    def answer(question: str) -> str:
        return str(typer.prompt(question, prompt_suffix="", err=True))

    return answer


JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON line instead of text.")
]
"""The flag that every command has."""
