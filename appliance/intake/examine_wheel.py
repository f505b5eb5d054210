"""Has a wheel examined by a child process that has nothing to lose.

Nothing of the wheel is parsed in this process; see ``examine.py``.
"""

import sys
from pathlib import Path

from appliance.intake.examine import TIMEOUT_S, ask_examiner
from appliance.intake.wheel_answer import read_wheel_answer
from bundleformat.artifact import Artifact, WheelSizes
from bundleformat.errors import MalformedError

COMMAND = (sys.executable, "-P", "-m", "appliance.intake.wheel_examiner")
"""The program that examines. ``-P`` keeps the current folder out of its path."""


def examine_wheel(
    path: Path,
    *,
    artifact: Artifact,
    command: tuple[str, ...] = COMMAND,
    timeout_s: float = TIMEOUT_S,
) -> WheelSizes:
    """Return what the wheel at ``path`` takes once installed.

    ``artifact`` gives what was signed of it, which the wheel must fit.

    Raises:
        MalformedError: It is not what its name says, or does more than wheels may,
            or takes something else than was signed.
        LimitExceededError: It is beyond a limit, of time and memory as well.
        InternalFaultError: The child died without an answer, or gave none that
            makes sense. The caller MUST treat the wheel as not examined.
    """
    filename = artifact.path.rpartition("/")[2]
    answer = ask_examiner(
        (path,), (*command, filename), where=artifact.path, timeout_s=timeout_s
    )
    found = read_wheel_answer(answer, where=artifact.path)
    if artifact.wheel is not None and artifact.wheel != found:
        raise MalformedError(
            "the wheel is not what the manifest says",
            where=artifact.path,
            expected=_told(artifact.wheel),
            actual=_told(found),
        )
    return found


def _told(sizes: WheelSizes) -> str:
    return (
        f"{sizes.unpacked_bytes} bytes in {sizes.files} files, "
        f"{sizes.python_bytes} of them Python"
    )
