"""Asks a person at a terminal before something is changed for those they serve."""

import sys
from typing import Annotated

import typer

from bundleformat.errors import UsageError

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, also not at a terminal.")]
"""The option of every command that asks."""


def check_confirmed(question: str, *, yes: bool) -> None:
    """Return if ``yes``, if nobody can be asked, or if the person agrees.

    Raises:
        UsageError: They did not; nothing changed.
    """
    if yes or not at_terminal():
        return
    if not typer.confirm(question, err=True):
        raise UsageError("not confirmed; nothing changed")


def at_terminal() -> bool:
    """Return whether there is somebody who can be asked."""
    return sys.stdin.isatty()
