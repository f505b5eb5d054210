"""Which account of the operating system works on this host, as records name it."""

import os
from pathlib import Path
from typing import Final

LOGIN_UID: Final = Path("/proc/self/loginuid")
"""The account that logged in, kept through sudo. Source: Linux, proc_pid_loginuid."""

NO_LOGIN: Final = 2**32 - 1
"""What stands there for a process that no login began."""


def login_uid() -> int | None:
    """Return the account that logged in, whoever it became since; or None."""
    try:
        number = int(LOGIN_UID.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == NO_LOGIN else number


def account_fields() -> dict[str, int | None]:
    """Return what a record says of who did something."""
    return {"operator_uid": os.getuid(), "login_uid": login_uid()}


def account_text() -> str:
    """Return the same as an approval names it: ``uid 990, login 1000``."""
    login = login_uid()
    return f"uid {os.getuid()}" + ("" if login is None else f", login {login}")
