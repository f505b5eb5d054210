"""Does whole operations on a disk that fails at one call of the test's choice."""

import enum
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
SOURCE = Path(__file__).with_name("disk.c")


class Mode(enum.IntFlag):
    """How the disk fails, as ``disk.c`` has it."""

    ONCE = 0
    FULL = 1
    DIE = 2
    READS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a deed.

    Attributes:
        struck: The call that failed, as "fsync store/sha256/ab", or "" for none.
        killed: The process ended there.
        error: The class of the error raised, "bug" for one of no class of ours, or "".
        code: The error's code.
        exit_status: The error's exit status.
        where: The error's place.
        seen: How many calls there were.
        done_at: How many there had been when only closing was left to do.
        trace: The stack of a bug.
    """

    struck: str = ""
    killed: bool = False
    error: str = ""
    code: str = ""
    exit_status: int = 0
    where: str = ""
    seen: int = 0
    done_at: int = 0
    trace: str = ""


class Disk:
    """Does deeds in a process whose disk fails when it is told to."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def do(
        self,
        deed: str,
        home: Path,
        media: Sequence[Path] = (),
        *,
        below: str = "",
        nth: int = -1,
        error: int = 0,
        mode: Mode = Mode.ONCE,
    ) -> Outcome:
        """Do a deed; of the calls below ``below``, the ``nth`` fails, from 0 on."""
        order = {
            "deed": deed,
            "home": str(home),
            "below": below,
            "media": [str(each) for each in media],
            "nth": nth,
            "error": error,
            "mode": int(mode),
        }
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{json.dumps(order)}\n")
        self._child.stdin.flush()
        return Outcome(**json.loads(self._child.stdout.readline()))


@contextmanager
def failing_disk(folder: Path) -> Iterator[Disk]:
    """Give such a process; the library it is started with is built in ``folder``."""
    library = folder / "disk.so"
    subprocess.run(
        ("/usr/bin/env", "cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE),
        check=True,
    )
    child = subprocess.Popen(
        (sys.executable, "-m", "tests.support.faults.child"),
        cwd=REPOSITORY,
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Disk(child)
    finally:
        child.communicate(timeout=60)
