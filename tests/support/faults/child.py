"""Does what it is told on a disk that fails: ``python -m tests.support.faults.child``.

Started with ``disk.c`` loaded before the C library. Each line of standard input is
an order; a forked child carries it out, and its outcome is a line of standard output.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from bundleformat.errors import Error
from tests.support.faults.deeds import DEEDS

SHIM = ctypes.CDLL(None)
SHIM.disk_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
SHIM.disk_seen.restype = ctypes.c_long
SHIM.disk_struck.restype = ctypes.c_char_p


def main() -> None:
    """Carry out one order after the other."""
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)  # noqa: T201 - the answer


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome of an order, carried out in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as answer:
            json.dump(outcome(order), answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return {"killed": True}
    found: dict[str, Any] = json.loads(said)
    return found


def outcome(order: dict[str, Any]) -> dict[str, Any]:
    """Do a deed with the disk armed; return what came of it."""
    home, media = Path(order["home"]), [Path(each) for each in order["media"]]
    found: dict[str, Any] = {"killed": False}

    def done() -> None:
        found["done_at"] = SHIM.disk_seen()

    below = bytes(home / order["below"])
    SHIM.disk_arm(below, order["nth"], order["error"], order["mode"])
    try:
        DEEDS[order["deed"]](home, media, done)
    except Error as error:
        found |= {
            "error": type(error).__name__,
            "code": error.code,
            "exit_status": error.exit_status,
            "where": error.where,
        }
    except BaseException:  # noqa: BLE001 - whatever it is, the test is told
        found |= {"error": "bug", "trace": traceback.format_exc()}
    SHIM.disk_disarm()
    found |= {"seen": SHIM.disk_seen(), "struck": SHIM.disk_struck().decode()}
    return found


if __name__ == "__main__":
    main()
