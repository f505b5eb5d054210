"""Runs the demo's commands and shows them with their real output."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LISTENING = re.compile(r"http://127\.0\.0\.1:\d+")
"""How the server says where it listens."""

WIDTH = 84
"""Where a long command is folded. Unit: characters."""

START_LIMIT_S = 60
"""How long the server may take until it is ready."""


class StepFailedError(Exception):
    """A step did not go as told; the demo ends with a non-zero status."""


class Stage:
    """A scratch folder with one shell, a narrator and at most one server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._step = 0
        self._server: subprocess.Popen[str] | None = None
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SALLYPORT_HOME": "host",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }

    def place(self, name: str) -> None:
        """Say on which machine the story goes on."""
        self.say("", f"== {name} ==")

    def step(self, sentence: str) -> None:
        """Say what happens next, numbered."""
        self._step += 1
        self.say("", f"{self._step}. {sentence}")

    def say(self, *lines: str) -> None:
        """Print lines at once, so that the reader sees each as it happens."""
        for line in lines:
            print(line, flush=True)

    def run(
        self,
        *command: str,
        expected_status: int = 0,
        home: str = "host",
    ) -> str:
        """Run ``command`` in the folder, show it and its output, and return that.

        Raises:
            StepFailedError: The exit status is not the expected one.
        """
        self._show_command(command)
        done = subprocess.run(
            _resolved(command),
            cwd=self.folder,
            env={**self._environment, "SALLYPORT_HOME": home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self._show(done.stdout)
        self._show(done.stderr)
        if done.returncode != expected_status:
            raise StepFailedError(
                f"{command[0]} ended with status {done.returncode}, "
                f"expected {expected_status}"
            )
        if expected_status:
            self.say(f"   (exit status {done.returncode})")
        return done.stdout

    def start_server(self, *command: str) -> str:
        """Start the server and return its base URL once it is ready to answer.

        Raises:
            StepFailedError: It ended, or was not ready in time.
        """
        self._show_command((*command, "&"))
        log = self.folder / "server.log"
        with log.open("w", encoding="utf-8") as sink:
            self._server = subprocess.Popen(
                _resolved(command),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                text=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._server.poll() is None:
            text = log.read_text(encoding="utf-8")
            found = LISTENING.search(text)
            if found:
                self._show(text)
                return found.group()
            time.sleep(0.05)
        self._show(log.read_text(encoding="utf-8"))
        raise StepFailedError("the server did not start")

    def stop_server(self) -> None:
        """Stop the server, if one runs, and wait until it is gone."""
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def _show_command(self, command: Sequence[str]) -> None:
        """Show a command as a person would type it, folded where it is long."""
        lines = [command[0]]
        for unit in _units(command[1:]):
            if len(lines[-1]) + len(unit) > WIDTH:
                lines[-1] += " \\"
                lines.append(f"    {unit}")
            else:
                lines[-1] += f" {unit}"
        self.say(f"   $ {lines[0]}", *(f"     {line}" for line in lines[1:]))

    def _show(self, text: str) -> None:
        for line in text.splitlines():
            self.say(f"   {line}".rstrip())


def _resolved(command: Sequence[str]) -> list[str]:
    """Return ``command`` with its program taken from this environment's folder."""
    program = Path(sys.executable).parent / command[0]
    return [str(program) if program.exists() else command[0], *command[1:]]


def _units(words: Sequence[str]) -> list[str]:
    """Return the words of a command, each option together with its value."""
    units: list[str] = []
    for word in words:
        if units and units[-1].startswith("--") and not word.startswith("--"):
            units[-1] += f" {word}"
        else:
            units.append(word)
    return units
