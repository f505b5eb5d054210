"""Where everything of one host lies below its home folder."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import HostNotReadyError

PEPPER_BYTES = 32
"""Size of the secret under which API keys are digested."""

WRITABLE_BY_OTHERS = 0o022
"""Permissions that a folder of secrets and trust must not grant."""


@dataclass(frozen=True, slots=True)
class Home:
    """The home folder of a host and the names below it."""

    root: Path

    @property
    def database(self) -> Path:
        """Ledger, trust state, generations, keys' digests: one SQLite file."""
        return self.root / "sallyport.db"

    @property
    def ledger_key(self) -> Path:
        """The first Ed25519 key that signs checkpoints; later ones lie beside it."""
        return self.root / "keys" / "ledger.key"

    @property
    def ballast(self) -> Path:
        """Room on the disk that is given up to record that there is none."""
        return self.root / "ledger.ballast"

    @property
    def pepper(self) -> Path:
        """The secret under which API keys are digested. Size: 32 bytes."""
        return self.root / "keys" / "pepper"

    @property
    def bodies(self) -> Path:
        """Prompts and answers of teams that capture them, encrypted."""
        return self.root / "bodies.db"

    @property
    def bodies_key(self) -> Path:
        """The secret under which the keys of bodies are encrypted. Size: 32 bytes."""
        return self.root / "keys" / "bodies.key"

    @property
    def store(self) -> Path:
        """Content-addressed files of every generation."""
        return self.root / "store"

    @property
    def staging(self) -> Path:
        """Files on their way into the store; nothing here is ever served."""
        return self.root / "staging"

    @property
    def run(self) -> Path:
        """Locks of the processes that hold this host."""
        return self.root / "run"

    def create_folders(self) -> None:
        """Create every folder, readable by the owner alone.

        Raises:
            HostNotReadyError: One that was there is not safe; nothing was put in it.
            OSError: The disk refused.
        """
        keys = self.ledger_key.parent
        for folder in (self.root, keys, self.store, self.staging, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.check_folders()

    def check_folders(self) -> None:
        """Check that nobody else decides what lies in the home or among its keys.

        A folder that is not there is left to those who look for what is in it.

        Raises:
            HostNotReadyError: Another user owns one of them, or may write to it.
        """
        for folder in (self.root, self.ledger_key.parent):
            _check_folder(folder)


def _check_folder(folder: Path) -> None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostNotReadyError(
            "a folder of this host cannot be looked at",
            where=str(folder),
            actual=error.strerror or "",
        ) from error
    if status.st_uid != os.geteuid():
        raise HostNotReadyError(
            "a folder of this host belongs to another user",
            where=str(folder),
            expected=f"uid {os.geteuid()}",
            actual=f"uid {status.st_uid}",
            hint="Run this as the user who owns the home folder.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & WRITABLE_BY_OTHERS:
        raise HostNotReadyError(
            "others may write to a folder of this host",
            where=str(folder),
            expected=f"{mode & ~WRITABLE_BY_OTHERS:o}",
            actual=f"{mode:o}",
            hint="Find out what others put there before changing its permissions.",
        )
