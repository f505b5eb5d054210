"""Single files that are no ``.mbundle``, or one that two readers read differently.

Nothing here needs a key. Each of them but the first few holds the whole good
bundle, and one thing besides or otherwise.
"""

import gzip
import io
import zipfile
from collections.abc import Iterator
from typing import Final

from bundleformat.iso_volume import DESCRIPTORS_OFFSET
from bundleformat.layout import TIMESTAMP_PATH
from bundleformat.ustar import BLOCK_BYTES, END
from tests.vectors.bundles.case import LIMIT, MALFORMED, Case, of_bytes
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import bundle
from tests.vectors.bundles.forge import ROOT_PATH
from tests.vectors.bundles.forms import (
    TIME_S,
    entries,
    entry,
    forged,
    header,
    single_file,
)

TYPES: Final = {
    "old-file": b"\0",
    "hard-link": b"1",
    "symbolic-link": b"2",
    "character-device": b"3",
    "block-device": b"4",
    "folder": b"5",
    "fifo": b"6",
    "contiguous-file": b"7",
    "extended-header": b"x",
    "global-header": b"g",
    "long-name": b"L",
    "long-link": b"K",
    "sparse-file": b"S",
}
"""Kinds of entry that archivers know."""

NAMES: Final = {
    "climbs": b"../../../etc/cron.d/x",
    "climbs-inside": b"metadata/../../x",
    "is-absolute": b"/etc/cron.d/x",
    "climbs-by-backslashes": b"..\\..\\x",
    "is-empty": b"",
    "is-this-folder": b"./volume.json",
    "has-a-line-end": b"a\nb",
    "has-a-letter-in-two-code-points": "cafe\u0301".encode(),
    "names-a-device": b"nul",
    "is-of-no-volume": b"models/x.gguf",
    "is-deeper-than-any": b"metadata/more/1.root.json",
    "is-a-chunk-in-capitals": b"c/AB/AB" + b"0" * 62,
    "is-a-chunk-in-another-folder": b"c/cd/ab" + b"0" * 62,
}
"""What an entry can be called."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    yield from _no_archives()
    yield from _entries()
    yield from _numbers()
    yield from _order()
    yield from _ends()


def _no_archives() -> Iterator[Case]:
    good = single_file(bundle())
    for name, data in (
        ("empty-file", b""),
        ("text", b"this is no bundle\n"),
        ("gzip", gzip.compress(good, mtime=0)),
        ("zip", _zip(good)),
    ):
        yield _of(name, f"{name}.mbundle", data)
    both = bytearray(good.ljust(DESCRIPTORS_OFFSET + 8, b"\0"))
    both[DESCRIPTORS_OFFSET : DESCRIPTORS_OFFSET + 8] = b"\x01CD001\x01\0"
    yield _of("image-as-well", "image-as-well.mbundle", bytes(both))


def _entries() -> Iterator[Case]:
    for name, kind in TYPES.items():
        head = forged(header("volume.json", 0), 156, kind)
        if kind in b"12":
            head = forged(head, 157, b"/etc/passwd")
        yield _with(f"entry-{name}", head)
    for name, path in NAMES.items():
        head = forged(header("volume.json", 0), 0, path.ljust(100, b"\0"))
        yield _with(f"name-that-{name}", head)
    yield _with("name-in-the-prefix", forged(header("x", 0), 345, b"../.."))
    yield _with("name-after-its-end", forged(header("x", 0), 2, b"/../x"))


def _numbers() -> Iterator[Case]:
    plain = header("volume.json", 0)
    for name, offset, value in (
        ("size-in-base-256", 124, b"\x80" + bytes(10) + b"\x07"),
        ("size-below-zero", 124, b"\xff" * 12),
        ("size-with-spaces", 124, b"          0\0"),
        ("size-of-twelve-digits", 124, b"0" * 12),
        ("time-with-spaces", 136, b"          0\0"),
        ("mode-setuid", 100, b"0004755\0"),
        ("owner", 108, b"0000001\0"),
        ("owner-by-name", 265, b"root"),
        ("gnu-magic", 257, b"ustar  \0"),
    ):
        yield _with(f"header-{name}", forged(plain, offset, value))
    wrong = plain[:148] + b"000000\0 " + plain[156:]
    yield _with("header-checksum", wrong)
    yield _of(
        "entry-above-the-size-of-a-chunk",
        "volume.json",
        _before_chunks(header("volume.json", 2**30 + 1)),
        LIMIT,
    )
    yield _of(
        "entry-past-the-end",
        "volume.json",
        _before_chunks(header("volume.json", 2**30)),
    )
    yield _with(
        "entry-of-another-time",
        header("volume.json", 0, time_s=TIME_S + 1),
        where="volume.json",
    )


def _order() -> Iterator[Case]:
    good = bundle()
    files = entries(good)
    evil = entry(TIMESTAMP_PATH, b"{}")
    second = f"header at byte {len(files[0])}"
    yield _of("file-twice", second, b"".join([files[0], *files, END]))
    own = entry(TIMESTAMP_PATH, good[TIMESTAMP_PATH])
    at = files.index(own)
    capitals = forged(own[:BLOCK_BYTES], 0, b"metadata/TIMESTAMP.json")
    for name, pair in (
        ("other-timestamp-first", (evil, own)),
        ("other-timestamp-last", (own, evil)),
        ("timestamp-in-another-case", (own, capitals + own[BLOCK_BYTES:])),
    ):
        before = [*files[:at], pair[0]]
        where = f"header at byte {sum(map(len, before))}"
        data = b"".join([*before, pair[1], *files[at + 1 :], END])
        yield _of(name, where, data)
    last = f"header at byte {len(files[-1])}"
    yield _of("backwards", last, b"".join([*reversed(files), END]))
    chunk = entry(SITE[0], good[SITE[0]])
    yield _of(
        "chunk-before-metadata",
        f"header at byte {len(chunk)}",
        b"".join([chunk, *files, END]),
    )


def _ends() -> Iterator[Case]:
    good = single_file(bundle())
    end = f"byte {len(good) - len(END)}"
    for name, where, data in (
        ("without-its-end", end, good[: -len(END)]),
        ("with-half-an-end", end, good[:-BLOCK_BYTES]),
        ("one-byte-short", end, good[:-1]),
        ("one-byte-long", end, good + b"\0"),
        ("twice", end, good + good),
        ("with-a-file-behind-its-end", end, good + entry("volume.json", b"{}") + END),
        ("with-an-end-inside", "with-an-end-inside.mbundle", END + good),
        ("cut-in-a-header", "cut-in-a-header.mbundle", good[:100]),
        ("cut-in-a-file", ROOT_PATH, good[: BLOCK_BYTES + 100]),
        ("padded-with-text", ROOT_PATH, _padded_with_text(good)),
    ):
        yield _of(name, where, data)


def _of(name: str, where: str, data: bytes, code: str = MALFORMED) -> Case:
    return of_bytes(name, code, where, lambda: data)


def _with(name: str, head: bytes, *, where: str = "") -> Case:
    """Return the case of the good bundle with one header more."""
    place = f"header at byte {len(b''.join(_halves()[0]))}"
    return _of(name, where or place, _before_chunks(head))


def _before_chunks(head: bytes) -> bytes:
    metadata, chunks = _halves()
    return b"".join([*metadata, head, *chunks, END])


def _halves() -> tuple[list[bytes], list[bytes]]:
    """Return what comes before the chunks, and the chunks."""
    files = entries(bundle())
    first = next(n for n, each in enumerate(files) if each.startswith(b"c/"))
    return files[:first], files[first:]


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("bundle.mbundle"), data)
    return out.getvalue()


def _padded_with_text(good: bytes) -> bytes:
    size = len(bundle()[ROOT_PATH])
    changed = bytearray(good)
    changed[BLOCK_BYTES + size] = ord("x")
    return bytes(changed)
