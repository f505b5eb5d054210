"""Lists of targets that name other files than the manifest delivers.

All of it was signed by the release key and the bundler's: the publisher's mistake, or
a thief's attempt to have a host write, read or believe something else.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from bundleformat.layout import MANIFEST_PATH
from tests.vectors.bundles.case import DIGEST, MALFORMED, Case, of_files
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import KEYS, bundle
from tests.vectors.bundles.forge import (
    SNAPSHOT_PATH,
    TARGETS_PATH,
    Change,
    Value,
    resigned,
    resigned_with,
)

TARGET = {"hashes": {"sha256": "0" * 64}, "length": 1}


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    chunk = SITE[1]
    for name, path in (
        ("climbs", "../../etc/passwd"),
        ("is-absolute", "/etc/passwd"),
        ("climbs-by-an-escape", "%2e%2e/%2e%2e/etc/passwd"),
        ("is-metadata", "metadata/1.root.json"),
        ("is-another-chunk", "c/00/" + "0" * 64),
        ("is-a-chunk-in-capitals", chunk.upper()),
        ("is-empty", ""),
        ("holds-a-zero-byte", "c/\0"),
    ):
        yield _of(f"extra-that-{name}", ascii(path), _extra(path))
    yield _of("without-the-manifest", MANIFEST_PATH, lambda v: _pop(v, MANIFEST_PATH))
    yield _of("without-a-chunk", ascii(chunk), lambda v: _pop(v, chunk))
    said: dict[str, Value] = {
        "of-another-length": {"length": 1},
        "of-another-digest": {"hashes": {"sha256": "0" * 64}},
        "hashed-by-sha512": {"hashes": {"sha512": "0" * 128}},
        "hashed-by-md5": {"hashes": {"md5": "0" * 32}},
        "hashed-twice": {"hashes": {"sha256": "0" * 64, "sha512": "0" * 128}},
        "hashed-in-capitals": {"hashes": {"sha256": chunk[-64:].upper()}},
    }
    for name, fields in said.items():
        yield _of(f"chunk-{name}", ascii(chunk), _put(**fields))
    for name, value in (("minus-1", -1), ("a-text", "48")):
        yield _of(
            f"chunk-of-length-{name}",
            TARGETS_PATH,
            _put(length=value),
        )
    yield _of(
        "chunk-of-length-true",
        f"{TARGETS_PATH}: 'length'",
        lambda v: v["targets"][chunk].update(length=True),
    )
    yield of_files(
        "manifest-of-another-length",
        DIGEST,
        MANIFEST_PATH,
        lambda: resigned(
            bundle(), targets=lambda v: v["targets"][MANIFEST_PATH].update(length=1)
        ),
    )
    yield _of("delegations", "targets", _delegate)
    yield from _named_otherwise()


def _named_otherwise() -> Iterator[Case]:
    for name, where, role, change in (
        ("snapshot-that-names-more", "snapshot", "snapshot", _name_more),
        (
            "snapshot-without-targets",
            SNAPSHOT_PATH,
            "snapshot",
            lambda v: v["meta"].clear(),
        ),
        (
            "snapshot-without-a-length",
            "snapshot",
            "snapshot",
            lambda v: v["meta"]["targets.json"].pop("length"),
        ),
        (
            "timestamp-without-a-digest",
            "timestamp",
            "timestamp",
            lambda v: v["meta"]["snapshot.json"].pop("hashes"),
        ),
        (
            "timestamp-with-another-digest",
            "timestamp",
            "timestamp",
            _by_sha512,
        ),
    ):
        yield of_files(
            name,
            MALFORMED,
            where,
            resigned_with(role, change),
        )


def _of(name: str, where: str, change: Change) -> Case:
    return of_files(name, MALFORMED, where, lambda: resigned(bundle(), targets=change))


def _put(**said: object) -> Change:
    return lambda value: value["targets"][SITE[1]].update(said)


def _extra(path: str) -> Change:
    return lambda value: value["targets"].update({path: TARGET})


def _pop(value: Value, path: str) -> Any:
    return value["targets"].pop(path)


def _delegate(value: Value) -> None:
    signer = KEYS.release.public_key
    value["delegations"] = {
        "keys": {signer.keyid: signer.to_dict()},
        "roles": [
            {
                "keyids": [signer.keyid],
                "name": "../../root",
                "paths": ["*"],
                "terminating": True,
                "threshold": 1,
            }
        ],
    }


def _name_more(value: Value) -> None:
    value["meta"]["../../root.json"] = {"version": 1}


def _by_sha512(value: Value) -> None:
    digest = hashlib.sha512(resigned(bundle())[SNAPSHOT_PATH]).hexdigest()
    value["meta"]["snapshot.json"]["hashes"] = {"sha512": digest}
