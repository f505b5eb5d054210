"""Where passphrases come from: a private file, or a person at a terminal.

Never from an argument or the environment, which other users of the machine can
see, and never into a message.
"""

import getpass
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bundleformat.errors import UsageError
from bundler.errors import KeyFileError

MIN_CHARACTERS: Final = 12
"""Shortest passphrase for a new key."""

MAX_BYTES: Final = 1_024
"""Longest passphrase file. Unit: bytes."""

Ask = Callable[[str], str]
"""Shows a prompt and returns what a person typed, unseen."""


class Passphrases:
    """Answers "which passphrase opens this key?", once per key file."""

    def __init__(
        self, *, file: Path | None, ask: Ask | None, pin_file: Path | None = None
    ) -> None:
        """Take files, or a way to ask when there is a person to ask."""
        self._file = file
        self._ask = ask
        self._pin_file = pin_file
        self._pins: dict[str, bytes] = {}

    def for_key(self, path: Path) -> bytes:
        """Return the passphrase of the existing key at ``path``.

        Raises:
            KeyFileError: The passphrase file cannot be used.
            UsageError: No file was named and nobody is there to ask.
        """
        if self._file is not None:
            return read_passphrase(self._file)
        return self._asked(f"Passphrase of {path}: ")

    def for_token(self, token: str) -> bytes:
        """Return the PIN of a token; a person is asked once for each.

        A file of passphrases is not one of PINs: a wrong PIN too many locks the
        token.

        Raises:
            KeyFileError: The PIN file cannot be used.
            UsageError: As ``for_key``.
        """
        if self._pin_file is not None:
            return read_passphrase(self._pin_file)
        if token not in self._pins:
            self._pins[token] = self._asked(f"PIN of token {token}: ", "--pin-file")
        return self._pins[token]

    def for_new_key(self, path: Path) -> bytes:
        """Return the passphrase of a key that is being made.

        Raises:
            KeyFileError: Too short, only white space, or typed differently the
            second time.
            UsageError: As ``for_key``.
        """
        if self._file is not None:
            return _checked(read_passphrase(self._file))
        first = self._asked(f"New passphrase of {path}: ")
        if self._asked("The same again: ") != first:
            raise KeyFileError("the two passphrases differ")
        return _checked(first)

    def _asked(self, prompt: str, option: str = "--passphrase-file") -> bytes:
        if self._ask is None:
            raise UsageError(
                "no PIN, and no terminal to ask on"
                if option == "--pin-file"
                else "no passphrase, and no terminal to ask on",
                hint="Run this at a terminal, or name a file that only you can "
                f"read with {option}.",
            )
        return self._ask(prompt).encode("utf-8")


def terminal_prompt() -> Ask | None:
    """Return a way to ask the person at this terminal, or None without one."""
    return getpass.getpass if os.isatty(0) else None


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in ``path``: its first and only line.

    Raises:
        KeyFileError: Not a regular file, readable by others, empty, too long, or
            of more than one line.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(
            "the passphrase file cannot be read",
            where=str(path),
            actual=error.strerror or str(error),
        ) from error
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise KeyFileError(
            "the passphrase file can be read by others",
            where=str(path),
            expected="a file with mode 0600",
            actual=stat.filemode(status.st_mode),
            hint=f"chmod 600 {path}",
        )
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line or len(data) > MAX_BYTES or b"\n" in line:
        raise KeyFileError(
            "the passphrase file does not hold one line",
            where=str(path),
            expected=f"1 to {MAX_BYTES} bytes in one line",
        )
    return line


def _checked(passphrase: bytes) -> bytes:
    text = passphrase.decode("utf-8", "replace")
    if not text.strip():
        raise KeyFileError(
            "the passphrase is nothing but white space",
            hint="Six random words are easy to keep and hard to guess.",
        )
    if len(text) < MIN_CHARACTERS:
        raise KeyFileError(
            "the passphrase is too short",
            expected=f"at least {MIN_CHARACTERS} characters",
            hint="Six random words are easy to keep and hard to guess.",
        )
    return passphrase
