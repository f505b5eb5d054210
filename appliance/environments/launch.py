"""Starts the confined children of an installation, and waits for each.

A child gets a clean environment: no variable of this process reaches it, no
configuration of pip, no home folder, and no network.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import appliance
from appliance.environments.confine import CPU_S
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    StorageFaultError,
)

TIMEOUT_S: Final = 2.0 * CPU_S
"""How long one step of an installation may take. Unit: seconds of wall-clock time."""

TAIL_BYTES: Final = 1_500
"""How much of what pip last said is kept for a message. Unit: bytes."""

_CHILD = (sys.executable, "-P", "-m", "appliance.environments.child")
_DISK_FULL = os.strerror(28)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launcher:
    """Runs children that reach two folders, and have one for temporary files.

    Attributes:
        folder: The environment; it MUST be there.
        scratch: A folder of this installation alone.
        where: What is being installed, for messages.
        timeout_s: When a child is killed.
    """

    folder: Path
    scratch: Path
    where: str
    timeout_s: float = TIMEOUT_S

    def become(self, program: Path, arguments: Sequence[str]) -> None:
        """Run ``program`` confined; it ends well, or this raises.

        Raises:
            MalformedError: It ended with a failure of its own.
            LimitExceededError: It took too long.
            StorageFaultError: The disk is full.
            InternalFaultError: It died, or could not be started.
        """
        log = self.scratch / "log"
        status = self._run("become", str(program), *arguments, log=log)
        if status == 0:
            return
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            said = file.read().decode("utf-8", "replace").strip()
        if _DISK_FULL in said:
            raise StorageFaultError(
                "the environment cannot be written", where=self.where, actual=_DISK_FULL
            )
        if status < 0:
            raise self._died(status)
        raise MalformedError(
            "the environment cannot be installed from its wheels",
            where=self.where,
            actual=said,
            hint="Report this bundle to its publisher; nothing of it was installed.",
        )

    def ask(self, errand: bytes) -> bytes:
        """Have a confined child check ``errand`` and return what it answers.

        Raises:
            LimitExceededError: It took too long.
            InternalFaultError: It died, or could not be started.
        """
        answer = self.scratch / "answer"
        question = self.scratch / "question"
        question.write_bytes(errand)
        status = self._run("check", log=answer, question=question)
        if status != 0:
            raise self._died(status)
        return answer.read_bytes()

    def _run(
        self,
        errand: str,
        *program: str,
        log: Path,
        question: Path = Path(os.devnull),
    ) -> int:
        root = str(Path(appliance.__file__).parent.parent)
        place = str(self.scratch)
        try:
            with log.open("wb") as sink, question.open("rb") as source:
                return subprocess.run(
                    [*_CHILD, errand, str(self.folder), place, *program],
                    stdin=source,
                    stdout=sink,
                    stderr=sink if errand == "become" else subprocess.DEVNULL,
                    env={
                        "PYTHONPATH": root,
                        "PATH": os.defpath,
                        "HOME": place,
                        "TMPDIR": place,
                        "PIP_CONFIG_FILE": os.devnull,
                    },
                    cwd=self.scratch,
                    start_new_session=True,
                    timeout=self.timeout_s,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired as error:
            raise self._took_too_long(self.timeout_s) from error
        except OSError as error:
            raise InternalFaultError(
                "an installation cannot be started", where=self.where, actual=str(error)
            ) from error

    def _died(self, status: int) -> LimitExceededError | InternalFaultError:
        if status == -signal.SIGXCPU:
            return self._took_too_long(CPU_S)
        return InternalFaultError(
            "the installation died", where=self.where, actual=f"exit status {status}"
        )

    def _took_too_long(self, limit_s: float) -> LimitExceededError:
        return LimitExceededError(
            "the installation took too long",
            where=self.where,
            expected=f"at most {limit_s:g} seconds",
        )
