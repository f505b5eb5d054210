"""What an engine takes of this host's memory, and how much of it there is.

The pool asks; it knows no numbers itself. A model that cannot be measured is not
loaded: the answer is never a guess that happens to fit.
"""

from pathlib import Path
from typing import Protocol

from appliance.engine.planning.choices import Choice


class MemoryBudget(Protocol):
    """Where the pool gets its numbers from. Unit of all: bytes."""

    async def need_bytes(self, *paths: Path, choice: Choice | None = None) -> int:
        """Return what an engine of the model in ``paths`` takes once it is busy.

        ``choice`` says how it is to keep its cache.

        Raises:
            ProbeDiedError: A process that was only to tell died on it.
            Error: It cannot be told; the model MUST NOT be loaded.
        """

    def taken_bytes(self, pid: int) -> int:
        """Return what a process has taken already; 0 if it is gone.

        Pages of files that it has mapped are left out. The kernel counts them as
        available, because it could read them again; an engine that had to would be
        as good as down.
        """

    def available_bytes(self) -> int:
        """Return what new processes may take now.

        Raises:
            Error: It cannot be told.
        """
