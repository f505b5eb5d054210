"""Payload that is not what was signed: altered, cut, lengthened, exchanged, absent.

Nothing here needs a key. The sparse files claim gigabytes and hold none: whoever
reads them to their end, or believes their length, is busy for a long time.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, VOLUME_HINT_PATH
from tests.vectors.bundles.case import DIGEST, LIMIT, MISSING, Case, of_folder
from tests.vectors.bundles.estate import ACTIVE, DELIVERED, NEXT, bundle, chunk_files
from tests.vectors.bundles.forge import ROOT_PATH, SNAPSHOT_PATH, TARGETS_PATH

SITE: Final = tuple(chunk_files(DELIVERED[NEXT][:1]))
"""The chunks of one policy, in their order."""

FIVE_GIB: Final = 5 * 2**30
"""More than any number of 32 bits holds."""

ONE_TIB: Final = 2**40


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for place, path in zip(("first", "middle", "last"), SITE, strict=True):
        for bit, offset in (("begin", 0), ("end", -1)):
            yield _of(f"{place}-flipped-at-its-{bit}", path, flipped(offset))
    middle = SITE[1]
    yield _of("empty", middle, lambda _: b"")
    yield _of("one-byte-short", middle, lambda data: data[:-1])
    yield _of("one-byte-long", middle, lambda data: data + b"\n")
    yield _of("of-the-active-version", middle, lambda _: _old()[1])
    yield _of("zeros", middle, lambda data: bytes(len(data)))
    yield of_folder("two-exchanged", DIGEST, SITE[0], _exchange, step=Step.COPY)
    yield of_folder(
        "hard-link-to-a-file-of-the-host",
        DIGEST,
        middle,
        _hard_link,
        step=Step.COPY,
    )
    yield of_folder("missing", MISSING, middle, lambda medium: _gone(medium, middle))
    yield of_folder(
        "all-missing",
        MISSING,
        min(bundle_chunks()),
        lambda m: (m / "c").rename(m / "d"),
    )
    yield of_folder(
        "under-its-name-in-capitals", MISSING, middle, lambda m: _capitals(m, middle)
    )
    yield from _sparse()


def _sparse() -> Iterator[Case]:
    for size, size_bytes in (("5-gib", FIVE_GIB), ("1-tib", ONE_TIB)):
        yield of_folder(
            f"sparse-{size}",
            DIGEST,
            SITE[1],
            partial(_sparse_at, path=SITE[1], size_bytes=size_bytes),
            step=Step.COPY,
        )
    for what, path, step in (
        ("timestamp", TIMESTAMP_PATH, Step.VERIFY),
        ("root", ROOT_PATH, Step.VERIFY),
        ("manifest", MANIFEST_PATH, Step.VERIFY),
        ("hint", VOLUME_HINT_PATH, Step.LOCK),
    ):
        yield of_folder(
            f"sparse-{what}",
            LIMIT,
            path,
            partial(_sparse_at, path=path),
            step=step,
        )
    # Their signed lengths are known by then, and are below the caps.
    for what, place in (("snapshot", SNAPSHOT_PATH), ("targets", TARGETS_PATH)):
        yield of_folder(
            f"sparse-{what}",
            DIGEST,
            place,
            partial(_sparse_at, path=place),
            step=Step.VERIFY,
        )


def bundle_chunks() -> tuple[str, ...]:
    """Return the paths of all chunks of the good bundle."""
    return tuple(path for path in bundle() if path.startswith("c/"))


def flipped(offset: int) -> Callable[[bytes], bytes]:
    """Return what flips one bit of the byte at ``offset``."""

    def change(data: bytes) -> bytes:
        found = bytearray(data)
        found[offset] ^= 1
        return bytes(found)

    return change


def _of(name: str, path: str, change: Callable[[bytes], bytes]) -> Case:
    def spoil(medium: Path) -> None:
        place = medium / path
        place.write_bytes(change(place.read_bytes()))

    return of_folder(name, DIGEST, path, spoil, step=Step.COPY)


def _old() -> list[bytes]:
    return list(chunk_files(DELIVERED[ACTIVE]).values())


def _exchange(medium: Path) -> None:
    first, second = medium / SITE[0], medium / SITE[1]
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


def _hard_link(medium: Path) -> None:
    secret = medium.parent / "a-file-of-the-host"
    secret.write_bytes(b"not for whoever made this medium\n")
    _gone(medium, SITE[1])
    os.link(secret, medium / SITE[1])


def _capitals(medium: Path, path: str) -> None:
    place = medium / path
    place.rename(place.with_name(place.name.upper()))


def _sparse_at(medium: Path, path: str, size_bytes: int = FIVE_GIB) -> None:
    (medium / path).touch()
    os.truncate(medium / path, size_bytes)


def _gone(medium: Path, path: str) -> None:
    (medium / path).unlink()
