"""Starts the confined children of an installation, and waits for each.

A child gets a clean environment: no variable of this process reaches it, no
configuration of pip, no home folder, and no network. What it says comes through a
pipe and never touches the disk, which may be what it complains about.
"""

import errno
import os
import select
import signal
import subprocess
import sys
import time
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

MAX_ANSWER_BYTES: Final = 65_536
"""Longest answer of a check: one refusal. Unit: bytes."""

_CHILD = (sys.executable, "-P", "-m", "appliance.environments.child")
_DISK_REFUSED: Final = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)),
    # What Python makes of the same where it wants to write to TMPDIR.
    "No usable temporary directory",
)
"""What a program says when it was the disk that failed it."""


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
            StorageFaultError: The disk is full, or refused.
            InternalFaultError: It died, or could not be started.
        """
        status, tail = self._run("become", str(program), *arguments, keep=TAIL_BYTES)
        if status == 0:
            return
        said = tail.decode("utf-8", "replace").strip()
        for refused in _DISK_REFUSED:
            if refused in said:
                raise StorageFaultError(
                    "the environment cannot be written",
                    where=self.where,
                    actual=refused,
                    hint="Free space or repair the disk, then import again.",
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
        question = self.scratch / "question"
        question.write_bytes(errand)
        status, answer = self._run("check", question=question, keep=MAX_ANSWER_BYTES)
        if status != 0:
            raise self._died(status)
        return answer

    def _run(
        self, errand: str, *program: str, keep: int, question: Path = Path(os.devnull)
    ) -> tuple[int, bytes]:
        """Return the exit status and the last ``keep`` bytes that were said."""
        place = str(self.scratch)
        try:
            with (
                question.open("rb") as source,
                subprocess.Popen(
                    [*_CHILD, errand, str(self.folder), place, *program],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT
                    if errand == "become"
                    else subprocess.DEVNULL,
                    env={
                        "PYTHONPATH": str(Path(appliance.__file__).parent.parent),
                        "PATH": os.defpath,
                        "HOME": place,
                        "TMPDIR": place,
                        "PIP_CONFIG_FILE": os.devnull,
                    },
                    cwd=self.scratch,
                    start_new_session=True,
                ) as child,
            ):
                tail = _watch(child, timeout_s=self.timeout_s, keep=keep)
        except OSError as error:
            raise InternalFaultError(
                "an installation cannot be started", where=self.where, actual=str(error)
            ) from error
        if tail is None:
            raise self._took_too_long(self.timeout_s)
        return child.returncode, tail

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


def _watch(
    child: "subprocess.Popen[bytes]", *, timeout_s: float, keep: int
) -> bytes | None:
    """Wait for ``child``, and return the last it said; None if it was killed.

    Nothing it says makes this hold more than ``keep`` bytes and a block.
    """
    assert child.stdout is not None  # noqa: S101 - it was asked for
    pipe, tail = child.stdout.fileno(), b""
    deadline_s = time.monotonic() + timeout_s
    try:
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not select.select([pipe], [], [], left_s)[0]:
                break
            block = os.read(pipe, max(keep, 4_096))
            if not block:
                child.wait(max(0.0, deadline_s - time.monotonic()))
                return tail
            tail = (tail + block)[-keep:]
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Whatever ended the waiting, no child is left behind.
        if child.poll() is None:
            child.kill()
    return None
