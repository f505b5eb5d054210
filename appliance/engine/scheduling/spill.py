"""Sequences that had to leave the cache, kept in memory within a bound.

What is kept is a copy of a sequence's state under its path; bringing it back costs
a copy instead of computing it again. The least recently used goes first.
"""

from collections import OrderedDict
from dataclasses import dataclass

from appliance.engine.scheduling.paths import Path, common


@dataclass(frozen=True, kw_only=True, slots=True)
class Spilled:
    """A kept sequence.

    Attributes:
        path: Its tokens.
        state: What the decoder saved.
    """

    path: Path
    state: bytes


class Spill:
    """At most ``limit_bytes`` of saved sequences; with 0 none is ever kept.

    Attributes:
        least_tokens: Shortest sequence worth keeping, and shortest gain worth
            bringing one back.
        used_bytes: What is kept now.
    """

    def __init__(self, *, limit_bytes: int, least_tokens: int) -> None:
        self._limit_bytes = limit_bytes
        self.least_tokens = least_tokens
        self._kept: OrderedDict[bytes, Spilled] = OrderedDict()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, path: Path) -> bool:
        """Return whether a sequence is worth saving."""
        return self._limit_bytes > 0 and path.size >= self.least_tokens

    def put(self, path: Path, state: bytes) -> None:
        """Keep a sequence if it fits at all; older ones make room."""
        key = path.tokens.tobytes()
        self._remove(key)
        if len(state) > self._limit_bytes:
            return
        while self.used_bytes + len(state) > self._limit_bytes:
            self._remove(next(iter(self._kept)))
        self._kept[key] = Spilled(path=path, state=state)
        self.used_bytes += len(state)

    def find(self, path: Path) -> tuple[int, Spilled | None]:
        """Return the kept sequence that has most in common with a prompt.

        The last token of the prompt does not count: it is always computed.

        Returns:
            How many items of the path they have in common, and the sequence.
        """
        best, found = 0, None
        for kept in self._kept.values():
            if kept.path.mark == path.mark:
                same = common(kept.path.tokens, path.tokens[:-1])
                if same > best:
                    best, found = same, kept
        return best, found

    def take(self, kept: Spilled) -> bytes:
        """Return the state of a kept sequence, which is kept no longer."""
        self._remove(kept.path.tokens.tobytes())
        return kept.state

    def _remove(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.used_bytes -= len(kept.state)
