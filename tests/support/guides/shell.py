"""A shell in a scratch folder that stands for the whole machine."""

import contextlib
import datetime as dt
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from appliance.cli import main as appliance_main
from bundler.cli import main as bundler_main
from bundler.cli.runtime import Runtime
from tests.support.guides.blocks import Command

PASSPHRASE: Final = "six random words make it strong"  # noqa: S105 - test keys only

REAL_PROGRAMS: Final = frozenset(
    {"cat", "cmp", "cp", "diff", "grep", "ls", "python3", "sed", "sha256sum", "tar"}
)
"""What is run as it is besides our own two."""

_PLACE = re.compile(r"(?<![\w.\-/])/(?=(?:media|var|opt|mnt)(?:/|\b))")
"""Where a word of a command or of a hint names a place of the whole machine."""


@dataclass
class Shell:
    """Runs commands as a person would type them, and keeps what they print.

    Attributes:
        root: The folder that stands for ``/``.
        days: Days by which the connected machine's clock is behind the host's.
        known: What somebody reads from paper, by the option it is typed after.
    """

    root: Path
    days: int = 0
    known: dict[str, str] = field(default_factory=dict)
    _printed: io.StringIO = field(default_factory=io.StringIO)

    @property
    def desk(self) -> Path:
        """The folder the commands are typed in."""
        return self.root / "desk"

    @property
    def home(self) -> Path:
        """The host's own folder."""
        return self.place("/var/lib/sallyport")

    def place(self, path: str) -> Path:
        """Return where ``path`` of the machine lies really."""
        return self.root / path.lstrip("/")

    def typed(self, text: str) -> str:
        """Return a command with what is read from the paper of this very play."""
        for option, value in self.known.items():
            text = re.sub(rf'({option} )("[^"]*"|\S+)', rf'\1"{value}"', text)
        return text

    def play(self, command: Command) -> str:
        """Run a command; return what it printed, and its status unless that is 0."""
        words = [
            _PLACE.sub(f"{self.root}/", word) for word in shlex.split(command.line)
        ]
        self._printed = io.StringIO()
        status = self._run(*words)
        printed = self._printed.getvalue().replace(str(self.root), "")
        printed = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        return printed + (f"(exit status {status})\n" if status else "")

    def does(self, line: str) -> str:
        """Run what a scene needs; return what it printed.

        Raises:
            AssertionError: It did not work.
        """
        printed = self.play(Command(typed=f"$ {line}", printed=""))
        assert "(exit status" not in printed, printed
        return printed

    def _run(self, program: str, *arguments: str) -> int:
        with self._here():
            if program == "sallyport":
                return appliance_main(arguments)
            if program == "sallyport-bundler":
                return bundler_main(arguments, runtime=self._runtime())
            assert program in REAL_PROGRAMS, program
            real = sys.executable if program == "python3" else program
            done = subprocess.run(
                [real, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            self._printed.write(done.stdout)
            return done.returncode

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        self.desk.mkdir(parents=True, exist_ok=True)
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(self._printed),
            contextlib.redirect_stderr(self._printed),
        ):
            patch.chdir(self.desk)
            patch.setenv("SALLYPORT_HOME", str(self.home))
            yield

    def _runtime(self) -> Runtime:
        now = dt.datetime.now(dt.UTC) - dt.timedelta(days=self.days)
        return Runtime(now=now, ask=self._ask, answer=self._answer)

    def _ask(self, question: str) -> str:
        self._printed.write(f"{question}\n")
        return PASSPHRASE

    def _answer(self, question: str) -> str:
        self._printed.write(f"{question}yes\n")
        return "yes"
