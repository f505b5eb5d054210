"""The confined child of an installation: ``python -m appliance.environments.child``.

``become FOLDER SCRATCH PROGRAM ARGUMENT…`` confines the process to the two folders
and turns it into that program. ``check FOLDER SCRATCH`` may only read them: it takes
what to check from standard input and writes what is wrong with it, or nothing, to
standard output. Neither does anything before it is confined.
"""

import os
import sys
from pathlib import Path

from appliance.environments.confine import confine
from appliance.environments.errand import Check, Wrong, decode_check, encode_wrong
from appliance.environments.record import Layout, check_installed
from bundleformat.errors import FaultError, LimitExceededError, RefusalError


def main(arguments: list[str]) -> int:
    """Do what the arguments say; a crash is the parent's to judge."""
    errand, program = arguments[0], arguments[3:]
    folders = (Path(arguments[1]), Path(arguments[2]))
    try:
        if errand == "become":
            confine(write=folders)
        else:
            confine(read=folders)
    except FaultError:
        # Not an exit status: the parent takes one for the program's own verdict.
        os.abort()
    if errand == "become":
        os.execv(program[0], program)  # noqa: S606 - it is confined
    wrong = check(decode_check(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(b"" if wrong is None else encode_wrong(wrong))
    return 0


def check(wanted: Check) -> Wrong | None:
    """Return what is wrong with an installed environment, or None."""
    layout = Layout(folder=Path(wanted.folder), python=wanted.python)
    try:
        check_installed(layout, [Path(wheel) for wheel in wanted.wheels])
    except RefusalError as error:
        return Wrong.of(error)
    except MemoryError:
        return Wrong.of(LimitExceededError("needs too much memory"))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
