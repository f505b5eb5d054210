"""JSON that two readers may see differently, or that is made to exhaust one.

The timestamp, the roots and the hint need no key: they are read strictly before
anybody looks for a signature. Targets, snapshot and manifest were signed so.
"""

from collections.abc import Callable, Iterator
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, VOLUME_HINT_PATH
from tests.vectors.bundles.case import LIMIT, MALFORMED, Case, of_files
from tests.vectors.bundles.estate import Files, bundle
from tests.vectors.bundles.forge import (
    ROOT_PATH,
    SNAPSHOT_PATH,
    TARGETS_PATH,
    named_snapshot,
    named_targets,
    with_bytes,
    with_manifest_bytes,
)

Change = Callable[[bytes], bytes]


def inserted(text: str) -> Change:
    """Return what puts a member before the others of the outermost object."""
    return lambda data: b"{" + text.encode("utf-8") + b"," + data[1:]


def twice(data: bytes) -> bytes:
    """Return the outermost object with its first key twice."""
    key = data[: data.index(b":")].strip(b"{")
    return b"{" + key + b":null," + data[1:]


TEXTS: Final[dict[str, tuple[str, Change]]] = {
    "key-twice": (MALFORMED, twice),
    "key-twice-by-an-escape": (MALFORMED, inserted('"a":1,"\\u0061":2')),
    "number-above-2-to-53": (MALFORMED, inserted('"a":9007199254740992')),
    "number-of-5000-digits": (MALFORMED, inserted(f'"a":{"9" * 5000}')),
    "number-beyond-doubles": (MALFORMED, inserted('"a":1e400')),
    "float": (MALFORMED, inserted('"a":1.0')),
    "not-a-number": (MALFORMED, inserted('"a":NaN')),
    "infinity": (MALFORMED, inserted('"a":-Infinity')),
    "deep-lists": (LIMIT, inserted('"a":' + "[" * 200 + "]" * 200)),
    "deep-objects": (LIMIT, inserted('"a":' + '{"a":' * 200 + "1" + "}" * 200)),
    "deep-without-an-end": (LIMIT, lambda _: b"[" * 2_000),
    "lone-surrogate": (MALFORMED, inserted('"a":"\\ud800"')),
    "byte-order-mark": (MALFORMED, lambda data: b"\xef\xbb\xbf" + data),
    "utf-16": (MALFORMED, lambda data: data.decode().encode("utf-16")),
    "not-utf-8": (MALFORMED, lambda data: data[:1] + b'"\xc0\xae":1,' + data[1:]),
    "comment": (MALFORMED, lambda data: data + b"// and more"),
    "second-document": (MALFORMED, lambda data: data + data),
    "zero-byte-after-it": (MALFORMED, lambda data: data + b"\0"),
    "cut": (MALFORMED, lambda data: data[:-1]),
    "empty": (MALFORMED, lambda _: b""),
    "list": (MALFORMED, lambda data: b"[" + data + b"]"),
    "null": (MALFORMED, lambda _: b"null"),
}
"""What can be wrong with a JSON document: code, and what makes it so."""

EVERYWHERE: Final = ("key-twice", "number-above-2-to-53", "deep-lists", "float")
"""What is tried in every file."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for what, path in (
        ("timestamp", TIMESTAMP_PATH),
        ("root", ROOT_PATH),
        ("snapshot", SNAPSHOT_PATH),
        ("targets", TARGETS_PATH),
        ("manifest", MANIFEST_PATH),
        ("hint", VOLUME_HINT_PATH),
    ):
        for name, (code, change) in TEXTS.items():
            if what == "timestamp" or name in EVERYWHERE:
                yield _case(f"{what}-{name}", code, path, change)
    yield _signed("manifest-with-a-space", lambda data: data.replace(b":", b": ", 1))
    yield _signed("manifest-in-another-order", _reordered)
    yield _signed(
        "manifest-with-an-escape", lambda d: d.replace(b"main", b"m\\u0061in")
    )
    yield _signed("manifest-with-a-line-end", lambda data: data + b"\n")


def _case(name: str, code: str, path: str, change: Change) -> Case:
    step = Step.LOCK if path == VOLUME_HINT_PATH else Step.VERIFY
    where = "manifest" if path == MANIFEST_PATH else path
    return of_files(name, code, where, lambda: _files(path, change), step=step)


def _files(path: str, change: Change) -> Files:
    if path == MANIFEST_PATH:
        return with_manifest_bytes(change)
    if path == VOLUME_HINT_PATH:
        return {**bundle(), path: change(b'{"channel":"main"}')}
    files = with_bytes(path, change)
    if path == TARGETS_PATH:
        return named_targets(files)
    return named_snapshot(files) if path == SNAPSHOT_PATH else files


def _signed(name: str, change: Change) -> Case:
    return of_files(name, MALFORMED, "manifest", lambda: with_manifest_bytes(change))


def _reordered(data: bytes) -> bytes:
    head, tail = b'{"artifacts":', b',"channel"'
    artifacts = data[len(head) : data.index(tail)]
    return (
        b"{"
        + data[len(head) + len(artifacts) + 1 : -1]
        + b","
        + head[1:]
        + artifacts
        + b"}"
    )
