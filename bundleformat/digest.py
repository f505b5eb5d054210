"""SHA-256 digests, and readers that are hashed without trusting their length."""

import hashlib
import re
from collections.abc import Callable
from typing import BinaryIO, Final, NewType

from bundleformat.errors import DigestMismatchError, LimitExceededError, MalformedError
from bundleformat.medium import COPY_AGAIN

Sha256 = NewType("Sha256", str)
"""A SHA-256 digest as 64 lower-case hexadecimal digits."""

BLOCK_BYTES: Final = 2**20
"""How much is read and hashed at once. Unit: bytes."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA384 = re.compile(r"[0-9a-f]{96}")


def parse_sha256(text: str, *, where: str = "sha256") -> Sha256:
    """Return ``text`` as a digest; safe as a file name from then on.

    Raises:
        MalformedError: Not 64 lower-case hexadecimal digits.
    """
    if not _SHA256.fullmatch(text):
        raise MalformedError(
            "not a SHA-256 digest",
            where=where,
            expected="64 lower-case hexadecimal digits",
            actual=ascii(text[:80]),
        )
    return Sha256(text)


def parse_sha384(text: str, *, where: str = "sha384") -> str:
    """Return ``text`` as a SHA-384 digest.

    Raises:
        MalformedError: Not 96 lower-case hexadecimal digits.
    """
    if not _SHA384.fullmatch(text):
        raise MalformedError(
            "not a SHA-384 digest",
            where=where,
            expected="96 lower-case hexadecimal digits",
            actual=ascii(text[:120]),
        )
    return text


def sha256_of(data: bytes) -> Sha256:
    """Return the digest of ``data``."""
    return Sha256(hashlib.sha256(data).hexdigest())


def hash_reader(
    reader: BinaryIO,
    *,
    max_bytes: int,
    where: str,
    sink: Callable[[bytes], object] | None = None,
) -> tuple[Sha256, int]:
    """Return digest and length of what ``reader`` still holds.

    ``sink`` is given each block after it was hashed: to write it, to hash it
    into something larger, or to count it.

    Raises:
        LimitExceededError: More than ``max_bytes``; no byte beyond was kept.
    """
    state = hashlib.sha256()
    size_bytes = 0
    while block := reader.read(min(BLOCK_BYTES, max_bytes - size_bytes + 1)):
        size_bytes += len(block)
        if size_bytes > max_bytes:
            raise LimitExceededError(
                "too long", where=where, expected=f"at most {max_bytes} bytes"
            )
        state.update(block)
        if sink is not None:
            sink(block)
    return Sha256(state.hexdigest()), size_bytes


def check_reader(
    reader: BinaryIO,
    *,
    sha256: Sha256,
    size_bytes: int,
    where: str,
    sha384: str | None = None,
    sink: Callable[[bytes], object] | None = None,
) -> None:
    """Read ``reader`` to its end; afterwards its bytes are the signed ones.

    With ``sha384`` they have both digests. ``sink`` sees blocks before the whole
    is known to be right. The caller MUST discard what it wrote if this raises.

    Raises:
        DigestMismatchError: Another digest, shorter, or longer than signed.
    """
    longer = None if sha384 is None else hashlib.sha384()

    def take(block: bytes) -> None:
        if longer is not None:
            longer.update(block)
        if sink is not None:
            sink(block)

    try:
        found, found_bytes = hash_reader(
            reader, max_bytes=size_bytes, where=where, sink=take
        )
    except LimitExceededError as error:
        raise DigestMismatchError(
            "longer than signed",
            where=where,
            expected=f"{size_bytes} bytes",
            hint="Copy the bundle again from its source; the medium was altered.",
        ) from error
    if found_bytes != size_bytes:
        raise DigestMismatchError(
            "shorter than signed",
            where=where,
            expected=f"{size_bytes} bytes",
            actual=f"{found_bytes} bytes",
            hint="Copy the bundle again from its source; the medium is incomplete.",
        )
    check_digest(sha256, found, where=where, name="sha256")
    if longer is not None:
        check_digest(sha384, longer.hexdigest(), where=where, name="sha384")


def check_digest(expected: str | None, actual: str, *, where: str, name: str) -> None:
    """Check that a digest is the signed one; ``name`` is that of its algorithm.

    Raises:
        DigestMismatchError: It is another.
    """
    if actual != expected:
        raise DigestMismatchError(
            "the bytes differ from what was signed",
            where=where,
            expected=f"{name} {expected}",
            actual=f"{name} {actual}",
            hint=COPY_AGAIN,
        )
