"""Options that many commands share, and the host they open."""

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from appliance.compose import open_host
from appliance.home import Home
from appliance.host import OpenHost
from appliance.settings import DEFAULT_HOME, HOME_VARIABLE, home_folder
from bundleformat.errors import LimitExceededError, MissingError

HOME_HELP = (
    f"The host's folder; stands before the command. "
    f"[default: ${HOME_VARIABLE}, or {DEFAULT_HOME}]"
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
"""The option every command has."""

_HOME: ContextVar[Path | None] = ContextVar("home", default=None)

MAX_INPUT_BYTES = 1024 * 1024
"""Largest file that a command reads whole."""


def remember_home(home: Path | None) -> None:
    """Keep the home that was named before the command."""
    _HOME.set(home)


def home() -> Home:
    """Return the home this command works on, commissioned or not."""
    return Home(home_folder(_HOME.get()))


def host() -> OpenHost:
    """Open the host this command works on; see ``compose.open_host``."""
    return open_host(home().root)


def check_readable(path: Path) -> None:
    """Return if ``path`` is a file that can be read, by whoever reads it.

    Raises:
        MissingError: It is not.
    """
    if not path.is_file() or not os.access(path, os.R_OK):
        raise MissingError("the file cannot be read", where=str(path))


def read_input(path: Path) -> bytes:
    """Return the whole of a small file named on the command line.

    Raises:
        MissingError: It cannot be read.
        LimitExceededError: It is too large to be what is asked for.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise MissingError(
            "the file cannot be read", where=str(path), actual=str(error.strerror)
        ) from error
    if len(data) > MAX_INPUT_BYTES:
        raise LimitExceededError(
            "the file is too large",
            where=str(path),
            expected=f"at most {MAX_INPUT_BYTES} bytes",
        )
    return data
