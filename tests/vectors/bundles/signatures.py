"""Signatures of nobody, of too few, of the wrong ones, and of no possible size.

Most of these need no key at all. Of the others, ``bundler-`` is what the thief of
a bundler key can do, ``one-holder-`` what one of three root holders can, and
``root-`` what two of them could sign by mistake.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from tuf.api.metadata import Root

from bundleformat.layout import TIMESTAMP_PATH
from bundleformat.trust import CHANNEL_FIELD
from tests.support.publisher import make_root
from tests.vectors.bundles.case import (
    CONFLICT,
    EQUIVOCATION,
    EXPIRED,
    MALFORMED,
    MISSING,
    SIGNATURE,
    Case,
    of_files,
)
from tests.vectors.bundles.estate import (
    EXPIRES,
    KEYS,
    Files,
    bundle,
    key,
    keys_of,
    root,
)
from tests.vectors.bundles.forge import (
    ROOT_2_PATH,
    ROOT_PATH,
    SNAPSHOT_PATH,
    TARGETS_PATH,
    Change,
    Value,
    keyid_of,
    named_snapshot,
    odd_root_2,
    resigned,
    revoke_bundler,
    root_2,
    signature_of,
    with_json,
)

STRANGER = keys_of("stranger")
BUNDLER = keyid_of(KEYS.bundler)


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    yield from _strangers()
    yield from _signature_values()
    yield from _roles()
    yield from _too_few_holders()
    yield from _odd_roots()


def _strangers() -> Iterator[Case]:
    of = of_files
    yield of(
        "strangers-bundle", EQUIVOCATION, ROOT_PATH, lambda: _strangers_bundle(own=True)
    )
    yield of(
        "strangers-bundle-under-the-known-root",
        SIGNATURE,
        TIMESTAMP_PATH,
        lambda: _strangers_bundle(own=False),
    )
    yield of(
        "strangers-root-as-the-next",
        SIGNATURE,
        ROOT_2_PATH,
        lambda: {
            **bundle(keys=STRANGER),
            ROOT_2_PATH: root_2(_take_over, signers=STRANGER.root),
        },
    )


def _signature_values() -> Iterator[Case]:
    def of(name: str, code: str, change: Callable[[Value], object]) -> Case:
        return of_files(
            f"timestamp-{name}",
            code,
            TIMESTAMP_PATH,
            lambda: with_json(TIMESTAMP_PATH, change),
        )

    genuine = signature_of(bundle()[TIMESTAMP_PATH])
    yield of("altered", SIGNATURE, lambda v: v["signed"].update(version=4))
    yield of("unsigned", SIGNATURE, lambda v: v["signatures"].clear())
    yield of("without-signatures", MALFORMED, lambda v: v.pop("signatures"))
    yield of(
        "flipped",
        SIGNATURE,
        put_signature(genuine[:-1] + ("0" if genuine[-1] != "0" else "1")),
    )
    yield of("cut", SIGNATURE, put_signature(genuine[:64]))
    yield of("empty", SIGNATURE, put_signature(""))
    yield of("of-no-hexadecimal-digits", SIGNATURE, put_signature("zz" * 64))
    yield of("of-all-zeros", SIGNATURE, put_signature("00" * 64))
    yield of("of-2-kilobytes", SIGNATURE, put_signature("ab" * 2_000))
    yield of("a-number", SIGNATURE, lambda v: v["signatures"][0].update(sig=7))
    yield of("twice", MALFORMED, lambda v: v["signatures"].append(v["signatures"][0]))
    yield of(
        "under-another-id",
        SIGNATURE,
        lambda v: v["signatures"][0].update(keyid="0" * 64),
    )
    yield of(
        "of-a-root-holder",
        SIGNATURE,
        lambda v: v.update(
            json.loads(resigned(bundle(), bundler=KEYS.root[:1])[TIMESTAMP_PATH])
        ),
    )


def _roles() -> Iterator[Case]:
    def of(name: str, where: str, files: Callable[[], Files]) -> Case:
        return of_files(name, SIGNATURE, where, files)

    yield of(
        "bundler-signs-targets",
        TARGETS_PATH,
        lambda: resigned(bundle(), release=(KEYS.bundler,)),
    )
    yield of(
        "release-key-signs-timestamp",
        TIMESTAMP_PATH,
        lambda: resigned(bundle(), bundler=(KEYS.release,)),
    )
    yield of(
        "compliance-key-signs-all",
        TIMESTAMP_PATH,
        lambda: bundle(
            keys=replace(KEYS, release=KEYS.compliance, bundler=KEYS.compliance)
        ),
    )
    yield of(
        "release-key-signs-snapshot",
        SNAPSHOT_PATH,
        lambda: named_snapshot(resigned(bundle(), bundler=(KEYS.release,))),
    )
    yield of(
        "revoked-bundler-signs",
        TIMESTAMP_PATH,
        lambda: bundle(roots=(root(), root_2(revoke_bundler(key("fresh bundler"))))),
    )


def _too_few_holders() -> Iterator[Case]:
    def of(name: str, data: Callable[[], bytes]) -> Case:
        return of_files(
            name, SIGNATURE, ROOT_2_PATH, lambda: bundle(roots=(root(), data()))
        )

    one = KEYS.root[:1]
    yield of("one-holder-signs-a-root", lambda: root_2(signers=one))
    yield of("one-holder-lowers-the-threshold", lambda: root_2(_lower, signers=one))
    yield of(
        "one-holder-adds-strangers",
        lambda: root_2(_take_over, signers=(*one, *STRANGER.root)),
    )
    yield of("unsigned-root", lambda: root_2(signers=()))
    yield of(
        "root-not-signed-by-its-own-holders",
        lambda: root_2(_take_over, signers=KEYS.root[:2]),
    )


def _odd_roots() -> Iterator[Case]:
    def of(
        name: str, where: str, change: Callable[[Value], object], code: str = MALFORMED
    ) -> Case:
        return of_files(
            f"root-{name}",
            code,
            where,
            lambda: bundle(roots=(root(), odd_root_2(change))),
        )

    at = ROOT_2_PATH
    yield of("of-threshold-0", at, lambda v: v["roles"]["targets"].update(threshold=0))
    yield of(
        "of-threshold-minus-1", at, lambda v: v["roles"]["root"].update(threshold=-1)
    )
    yield of(
        "of-threshold-true",
        f"{at}: 'threshold'",
        lambda v: v["roles"]["root"].update(threshold=True),
    )
    yield of("of-another-version", at, lambda v: v.update(version=3))
    yield of("without-a-role", at, lambda v: v["roles"].pop("snapshot"))
    yield of("with-another-role", at, lambda v: v["roles"].update(x=v["roles"]["root"]))
    yield of("of-another-type", at, lambda v: v.update(_type="targets"))
    yield of("of-specification-2", at, lambda v: v.update(spec_version="2.0.0"))
    yield of("with-one-key-under-two-ids", "root.roles.root", _two_ids)
    yield of(
        "with-a-key-it-lacks",
        "root.roles.root",
        lambda v: v["keys"].pop(keyid_of(KEYS.root[2])),
    )
    yield of("with-a-weak-key", "root.roles.root", _weak_key)
    yield of(
        "of-another-channel", at, lambda v: v.update({CHANNEL_FIELD: "other"}), CONFLICT
    )
    yield of(
        "of-a-channel-that-climbs",
        f"{at}: {CHANNEL_FIELD}",
        lambda v: v.update({CHANNEL_FIELD: "../../etc"}),
    )
    yield of(
        "without-a-channel", f"root.{CHANNEL_FIELD}", lambda v: v.pop(CHANNEL_FIELD)
    )
    yield of(
        "with-a-text-for-consistent-snapshots",
        "root",
        lambda v: v.update(consistent_snapshot="true"),
    )
    yield of(
        "without-consistent-snapshots",
        "metadata/snapshot.json",
        lambda v: v.update(consistent_snapshot=False),
        MISSING,
    )
    yield of(
        "that-has-expired",
        "root",
        lambda v: v.update(expires="2026-11-21T00:00:00Z"),
        EXPIRED,
    )
    yield of_files(
        "root-after-a-gap",
        MISSING,
        ROOT_2_PATH,
        lambda: {**bundle(), "metadata/3.root.json": root_2(version=3)},
    )
    yield of_files(
        "root-under-the-name-of-the-next",
        MALFORMED,
        ROOT_2_PATH,
        lambda: {**bundle(), ROOT_2_PATH: root_2(version=3)},
    )


def _strangers_bundle(*, own: bool) -> Files:
    roots = (make_root(STRANGER, threshold=2, expires=EXPIRES) if own else root(),)
    return bundle(keys=STRANGER, roots=roots)


def put_signature(signature: str) -> Change:
    """Return what puts another signature in the place of the first."""
    return lambda value: value["signatures"][0].update(sig=signature)


def _lower(value: Root) -> None:
    value.roles["root"].threshold = 1


def _take_over(value: Root) -> None:
    for role, keys in (
        ("root", STRANGER.root),
        ("targets", (STRANGER.release,)),
        ("snapshot", (STRANGER.bundler,)),
        ("timestamp", (STRANGER.bundler,)),
    ):
        value.roles[role].keyids.clear()
        for each in keys:
            value.add_key(each.public_key, role)


def _two_ids(value: Value) -> None:
    first, second = keyid_of(KEYS.root[0]), "ab" * 32
    value["keys"][second] = value["keys"][first]
    value["roles"]["root"]["keyids"].append(second)


def _renamed_key(keyid: str) -> Change:
    def change(value: Value) -> None:
        before = keyid_of(KEYS.root[2])
        value["keys"][keyid] = value["keys"].pop(before)
        ids = value["roles"]["root"]["keyids"]
        ids[ids.index(before)] = keyid

    return change


def _weak_key(value: Value) -> None:
    weak = value["keys"][keyid_of(KEYS.root[2])]
    weak.update(keytype="rsa", scheme="rsassa-pss-sha256")
