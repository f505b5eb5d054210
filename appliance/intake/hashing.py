"""Hashes a stream by several digests at once, each on a thread of its own.

``hashlib`` releases the interpreter's lock, so that a chunk's digest, the whole
file's digest and the writing of the copy share the cores of the machine. A block
is read once and handed to all of them; few are in flight, so the memory does not
grow with the file.
"""

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, Self

from bundleformat.digest import BLOCK_BYTES, check_digest
from bundleformat.errors import DigestMismatchError

BLOCKS_IN_FLIGHT: Final = 4
"""Most blocks that were read and are not hashed by everybody yet."""

SMALL_BYTES: Final = 64 * 1024
"""Blocks up to this size are hashed at once: a thread would cost more."""

_THREADS: Final = 4
"""Most digests at once: SHA-256 and SHA-384, of a chunk and of the whole."""


class Signed(Protocol):
    """Anything with signed digests: an artifact, or a chunk of one."""

    @property
    def sha256(self) -> str:
        """Its SHA-256."""

    @property
    def sha384(self) -> str | None:
        """Its SHA-384, if the bundle's signatures use that."""


class HashState(Protocol):
    """What ``hashlib`` returns."""

    def update(self, data: bytes, /) -> None:
        """Hash some more."""

    def hexdigest(self) -> str:
        """Return the digest of everything so far."""

    def copy(self) -> "HashState":
        """Return a state that goes on from here by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Digests:
    """The state of every digest that was signed of one thing."""

    states: tuple[tuple[str, HashState], ...]

    @classmethod
    def of(cls, signed: Signed) -> Self:
        """Return states that have seen nothing yet."""
        states: list[tuple[str, HashState]] = [("sha256", hashlib.sha256())]
        if signed.sha384 is not None:
            states.append(("sha384", hashlib.sha384()))
        return cls(states=tuple(states))

    def copy(self) -> Self:
        """Return states that go on from here by themselves."""
        return type(self)(
            states=tuple((name, state.copy()) for name, state in self.states)
        )

    def check(self, signed: Signed, *, where: str) -> None:
        """Check that what was hashed is what was signed.

        Raises:
            DigestMismatchError: It is not.
        """
        wanted = {"sha256": signed.sha256, "sha384": signed.sha384}
        for name, state in self.states:
            check_digest(wanted[name], state.hexdigest(), where=where, name=name)


class Hashers:
    """The threads; a context manager that ends them.

    Attributes:
        disk: One more thread, for what the disk is told meanwhile.
    """

    def __init__(self) -> None:
        self.disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        # One thread each, so that every digest sees the blocks in their order.
        self._pools = tuple(
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
            for _ in range(_THREADS)
        )

    def close(self) -> None:
        """End the threads."""
        for pool in (*self._pools, self.disk):
            pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        blocks: Iterable[bytes],
        digests: Iterable[Digests],
        *,
        sink: Callable[[bytes], object],
    ) -> None:
        """Give every block to all ``digests`` and, meanwhile, to ``sink``.

        When this returns, or raises, nothing is being hashed any more.
        """
        lanes = tuple(
            (pool, state)
            for pool, (_, state) in zip(self._pools, _all_states(digests), strict=False)
        )
        pending: deque[Future[None]] = deque()
        try:
            for block in blocks:
                while len(pending) > len(lanes) * (BLOCKS_IN_FLIGHT - 1):
                    pending.popleft().result()
                if len(block) <= SMALL_BYTES:
                    _settle(pending)
                    for _, state in lanes:
                        state.update(block)
                else:
                    pending.extend(
                        pool.submit(state.update, block) for pool, state in lanes
                    )
                sink(block)
        finally:
            _settle(pending)


def _all_states(digests: Iterable[Digests]) -> Iterator[tuple[str, HashState]]:
    for each in digests:
        yield from each.states


def _settle(pending: deque[Future[None]]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            pending.popleft().result()


class Reader(Protocol):
    """What blocks are read from."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, or none at the end."""


def signed_blocks(source: Reader, *, size_bytes: int, where: str) -> Iterator[bytes]:
    """Yield the blocks of ``source``, which must be exactly ``size_bytes`` long.

    Raises:
        DigestMismatchError: It is shorter or longer; no byte too many was yielded.
    """
    seen = 0
    while block := source.read(min(BLOCK_BYTES, size_bytes - seen + 1)):
        seen += len(block)
        if seen > size_bytes:
            raise DigestMismatchError(
                "longer than signed",
                where=where,
                expected=f"{size_bytes} bytes",
                hint="Copy the bundle again from its source; the medium was altered.",
            )
        yield block
    if seen != size_bytes:
        raise DigestMismatchError(
            "shorter than signed",
            where=where,
            expected=f"{size_bytes} bytes",
            actual=f"{seen} bytes",
            hint="Copy the bundle again from its source; the medium is incomplete.",
        )
