"""Has a wheel examined by a child process that has nothing to lose.

Nothing of the wheel is parsed in this process; see ``examine.py``.
"""

import sys
from pathlib import Path

from appliance.intake.examine import TIMEOUT_S, ask_examiner
from appliance.intake.wheel_answer import read_wheel_answer
from bundleformat.manifest import Artifact

COMMAND = (sys.executable, "-P", "-m", "appliance.intake.wheel_examiner")
"""The program that examines. ``-P`` keeps the current folder out of its path."""


def examine_wheel(
    path: Path,
    *,
    artifact: Artifact,
    command: tuple[str, ...] = COMMAND,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Return the bytes that the wheel at ``path`` takes once installed.

    ``artifact`` gives the file name that was signed, which the wheel must fit.

    Raises:
        MalformedError: It is not what its name says, or does more than wheels may.
        LimitExceededError: It is beyond a limit, of time and memory as well.
        InternalFaultError: The child died without an answer, or gave none that
            makes sense. The caller MUST treat the wheel as not examined.
    """
    filename = artifact.path.rpartition("/")[2]
    answer = ask_examiner(
        (path,), (*command, filename), where=artifact.path, timeout_s=timeout_s
    )
    return read_wheel_answer(answer, where=artifact.path)
