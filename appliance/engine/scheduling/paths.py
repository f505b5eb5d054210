"""A prompt as the prefix cache sees it: tokens, and a mark that parts tenants.

The mark is a negative number in the path that no token has. What follows it can
only be found by a prompt with the same mark at the same place; what stands before
it, a beginning that the operator declared to be everybody's, by all. The mark is
chosen here, from the tenant that the gateway names, so no caller can say it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
"""Tokens and marks of a path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """The tokens of one prompt with its tenant's mark among them.

    Attributes:
        tokens: The prompt with one mark in it.
        mark: Index of the mark.
    """

    tokens: Tokens
    mark: int

    @property
    def size(self) -> int:
        """Tokens of the path, the mark not counted."""
        return len(self.tokens) - 1

    def cells(self, length: int) -> int:
        """Return how many tokens the first ``length`` items are."""
        return length - (length > self.mark)

    def length(self, cells: int) -> int:
        """Return how many items the first ``cells`` tokens take."""
        return cells + (cells > self.mark)

    def grown(self, tokens: Sequence[int]) -> "Path":
        """Return the path with ``tokens`` behind it."""
        more = np.asarray(tokens, np.int32)
        return Path(tokens=np.concatenate((self.tokens, more)), mark=self.mark)


class Paths:
    """Makes paths; ``public`` are the beginnings that all tenants share."""

    def __init__(self, public: Sequence[Sequence[int]] = ()) -> None:
        self._public = tuple(
            sorted((np.asarray(each, np.int32) for each in public), key=len)
        )
        self._marks: dict[str, int] = {}

    def path(self, tenant: str, tokens: Sequence[int]) -> Path:
        """Return the path of a prompt of ``tenant``."""
        prompt = np.asarray(tokens, np.int32)
        mark = 0
        for beginning in self._public:
            size = len(beginning)
            if size < len(prompt) and np.array_equal(prompt[:size], beginning):
                mark = size
        number = self._marks.setdefault(tenant, -1 - len(self._marks))
        return Path(tokens=np.insert(prompt, mark, number), mark=mark)


def common(first: Tokens, second: Tokens) -> int:
    """Return how many items two runs begin with in common."""
    size = min(len(first), len(second))
    differ = np.flatnonzero(first[:size] != second[:size])
    return int(differ[0]) if len(differ) else size
