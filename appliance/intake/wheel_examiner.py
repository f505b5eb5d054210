"""The child that examines a wheel: ``python -m appliance.intake.wheel_examiner NAME``.

The wheel is standard input, its file name the argument, and the answer goes to
standard output. The process confines itself before it reads a byte; it unpacks
nothing to disk and runs nothing of the wheel.
"""

import os
import sys

from appliance.intake.answer import Refusal
from appliance.intake.confine import confine
from appliance.intake.wheel_answer import WheelAnswer, encode_wheel_answer
from bundleformat.errors import LimitExceededError, RefusalError
from bundleformat.wheel_lint import lint_wheel


def main() -> int:
    """Examine standard input and write the answer; a crash is the parent's to judge."""
    confine()
    answer = encode_wheel_answer(examine(sys.stdin.fileno(), filename=sys.argv[1]))
    while answer:
        answer = answer[os.write(sys.stdout.fileno(), answer) :]
    return 0


def examine(descriptor: int, *, filename: str) -> WheelAnswer:
    """Return the answer for the wheel open at ``descriptor``."""
    size_bytes = os.fstat(descriptor).st_size
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            facts = lint_wheel(file, filename=filename, size_bytes=size_bytes)
    except RefusalError as error:
        return WheelAnswer(refused=Refusal.of(error))
    except MemoryError:
        refusal = LimitExceededError("needs too much memory")
        return WheelAnswer(refused=Refusal.of(refusal))
    return WheelAnswer(sizes=facts.sizes)


if __name__ == "__main__":
    sys.exit(main())
