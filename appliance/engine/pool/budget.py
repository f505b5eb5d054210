"""What an engine takes of this host's memory, and how much of it there is.

The pool asks; it knows no numbers itself. A model that cannot be measured is not
loaded: the answer is never a guess that happens to fit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.engine.planning.choices import Choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Memory that an engine takes once it is loaded and busy.

    Attributes:
        total_bytes: All of it: weights, cache, buffers and the process itself.
        mapped_bytes: The part of it that is mapped from files. The kernel counts
            such pages as available, because it could read them again; an engine
            that had to would be as good as down.
    """

    total_bytes: int
    mapped_bytes: int


class MemoryBudget(Protocol):
    """Where the pool gets its numbers from."""

    async def need(self, *paths: Path, choice: Choice | None = None) -> Need:
        """Return what an engine of the model in ``paths`` takes on this host.

        ``choice`` says how it is to keep its cache.

        Raises:
            ProbeDiedError: A process that was only to tell died on it.
            Error: It cannot be told; the model MUST NOT be loaded.
        """

    def available_bytes(self) -> int:
        """Return what the kernel calls available to new processes now.

        Raises:
            Error: It cannot be told.
        """
