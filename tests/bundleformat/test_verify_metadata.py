"""Attacks on TUF metadata: one per test, then what is left.

Source: the attacks of the TUF specification 1.0, section 1.5.2.
"""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Snapshot,
    Targets,
    Timestamp,
)

from bundleformat.errors import (
    DigestMismatchError,
    EquivocationError,
    ExpiredError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import format_moment
from bundleformat.trust import TrustFloor
from bundleformat.verify import verify_metadata
from bundleformat.volume import Volume
from tests.support.bundle_host import BundleHost
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    NOW,
    ROOT_EXPIRES,
    Published,
    make_root,
    new_keys,
    next_version,
    republish,
)

TIMESTAMP = "metadata/timestamp.json"
SNAPSHOT = "metadata/1.snapshot.json"
TARGETS = "metadata/1.targets.json"
DAY = dt.timedelta(days=1)


def edit_expiry(path: Path) -> None:
    value = json.loads(path.read_bytes())
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(value))


def test_altered_timestamp_is_signed_by_nobody(
    published: Published, host: BundleHost
) -> None:
    edit_expiry(published.folder / TIMESTAMP)
    host.refuses(published.folder, SignatureError, where=TIMESTAMP)


@pytest.mark.parametrize("path", [SNAPSHOT, TARGETS])
def test_altered_snapshot_or_targets_differ_from_their_signed_digest(
    published: Published, host: BundleHost, path: str
) -> None:
    edit_expiry(published.folder / path)
    host.refuses(published.folder, DigestMismatchError, where=path)


@pytest.mark.parametrize("path", [SNAPSHOT, TARGETS])
def test_snapshot_or_targets_longer_than_signed_are_refused(
    published: Published, host: BundleHost, path: str
) -> None:
    with (published.folder / path).open("ab") as file:
        file.write(b" " * 100)
    host.refuses(published.folder, DigestMismatchError, where=path)


@pytest.mark.parametrize("path", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_absent_metadata_is_named(
    published: Published, host: BundleHost, path: str
) -> None:
    (published.folder / path).unlink()
    host.refuses(published.folder, MissingError, where=path)


@pytest.mark.parametrize("path", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_truncated_metadata_is_malformed(
    published: Published, host: BundleHost, path: str
) -> None:
    (published.folder / path).write_bytes(b"{")
    host.refuses(published.folder, MalformedError, where=path)


def test_duplicate_keys_are_refused_although_the_signature_would_hold(
    published: Published, host: BundleHost
) -> None:
    path = published.folder / TIMESTAMP
    text = path.read_text().replace(
        '"signed":', '"signed": {"version": 99}, "signed":', 1
    )
    path.write_text(text)
    host.refuses(published.folder, MalformedError, where=TIMESTAMP)


def test_a_bundle_by_other_keys_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    other = new_keys()
    evil = republish(
        published, tmp_path / "evil", keys=other, roots=(make_root(other),)
    )
    # The attacker leaves our root in its place, because its fingerprint is known.
    (evil.folder / "metadata" / "1.root.json").write_bytes(published.root)
    host.refuses(evil.folder, SignatureError, where=TIMESTAMP)


def test_another_root_under_a_known_version_is_equivocation(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    other = new_keys()
    evil = republish(
        published, tmp_path / "evil", keys=other, roots=(make_root(other),)
    )
    host.refuses(evil.folder, EquivocationError, where="metadata/1.root.json")


def test_the_bundler_key_cannot_sign_what_is_delivered(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    keys = replace(published.keys, release=published.keys.bundler)
    evil = republish(published, tmp_path / "evil", keys=keys)
    host.refuses(evil.folder, SignatureError, where=TARGETS)


def test_an_older_bundle_is_a_rollback_and_the_newer_one_still_verifies(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    newer = next_version(published, tmp_path / "v2")
    host.accept(newer.folder)
    host.refuses(published.folder, RollbackError, where=TIMESTAMP)
    with pytest.raises(RollbackError) as caught:
        host.look(published.folder)
    found = (caught.value.expected, caught.value.actual)
    assert found == ("bundle 2 or newer", "bundle 1")
    assert host.look(newer.folder).fresh is False


def test_a_wiped_state_does_not_lower_the_floor(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    host.accept(next_version(published, tmp_path / "v2").folder)
    host.state = published.state()
    host.refuses(published.folder, RollbackError, where="bundle")


def test_a_root_below_the_floor_is_a_rollback(
    published: Published, host: BundleHost
) -> None:
    host.floor = TrustFloor(root_version=2, bundle_version=1, time_floor=NOW)
    host.refuses(published.folder, RollbackError, where="root")


def test_two_bundles_of_one_version_are_equivocation(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    host.accept(published.folder)
    other = replace(published.manifest, created=NOW - DAY)
    evil = republish(published, tmp_path / "evil", manifest=other)
    host.refuses(evil.folder, EquivocationError, where=TIMESTAMP)


def with_a_line_end(data: bytes) -> bytes:
    return data + b"\n"


def with_spaces(data: bytes) -> bytes:
    return json.dumps(json.loads(data), indent=1).encode()


def with_a_strangers_signature(data: bytes) -> bytes:
    value = json.loads(data)
    value["signatures"].append({"keyid": "0" * 64, "sig": "00" * 64})
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "change", [with_a_line_end, with_spaces, with_a_strangers_signature]
)
@pytest.mark.parametrize("first", ["genuine", "respelt"])
def test_what_nobody_signs_of_a_timestamp_makes_no_other_bundle_of_it(
    published: Published,
    host: BundleHost,
    change: Callable[[bytes], bytes],
    first: str,
) -> None:
    # Whoever may write on one medium could keep out all others of that version.
    path = published.folder / TIMESTAMP
    genuine = path.read_bytes()
    spellings = [genuine, change(genuine)]
    for data in spellings if first == "genuine" else spellings[::-1]:
        path.write_bytes(data)
        accepted = host.accept(published.folder)
        assert accepted.manifest == published.manifest
    assert not accepted.fresh


@pytest.mark.parametrize("path", [SNAPSHOT, TARGETS])
def test_a_known_version_is_refused_when_its_medium_is_damaged(
    published: Published, host: BundleHost, path: str
) -> None:
    host.accept(published.folder)
    edit_expiry(published.folder / path)
    host.refuses(published.folder, DigestMismatchError, where=path)


def test_mix_and_match_of_two_versions_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    newer = next_version(published, tmp_path / "v2")
    path = newer.folder / "metadata" / "2.snapshot.json"
    shutil.copy(published.folder / SNAPSHOT, path)
    host.refuses(newer.folder, DigestMismatchError, where="metadata/2.snapshot.json")


def test_a_manifest_of_another_version_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    # Signed by the right keys: the publisher's own mistake, or a stolen key.
    newer = next_version(published, tmp_path / "v2")
    manifest = (published.folder / "targets" / "manifest.json").read_bytes()
    (newer.folder / "targets" / "manifest.json").write_bytes(manifest)
    host.refuses(newer.folder, DigestMismatchError, where="targets/manifest.json")


def test_a_manifest_of_another_channel_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    manifest = replace(
        published.manifest, channel=type(published.manifest.channel)("x")
    )
    evil = republish(published, tmp_path / "evil", manifest=manifest)
    host.refuses(evil.folder, MalformedError, where="targets/manifest.json")


def test_a_manifest_created_after_its_expiry_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    # A creation time becomes the host's floor; a far one would lock it out.
    manifest = replace(published.manifest, created=BUNDLE_EXPIRES)
    evil = republish(published, tmp_path / "evil", manifest=manifest)
    host.refuses(evil.folder, MalformedError, where="created")


def test_a_manifest_created_after_the_expiry_of_its_root_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    # The bundle alone would allow it; the floor would then lie behind every root.
    manifest = replace(published.manifest, created=ROOT_EXPIRES)
    evil = republish(
        published, tmp_path / "evil", manifest=manifest, expires=ROOT_EXPIRES + DAY
    )
    host.refuses(evil.folder, MalformedError, where="created")


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_a_manifest_created_after_any_expiry_is_refused(
    published: Published, host: BundleHost, tmp_path: Path, role: str
) -> None:
    manifest = replace(published.manifest, created=NOW + 9 * DAY)
    late = republish(published, tmp_path / "late", manifest=manifest)
    targets = Metadata[Targets].from_file(str(late.folder / TARGETS))
    soon = NOW + 9 * DAY
    if role == "targets":
        targets.signed.expires = soon
    evil = _resign_targets(
        late,
        tmp_path / "evil",
        targets,
        snapshot_expires=soon if role == "snapshot" else BUNDLE_EXPIRES,
    )
    host.refuses(evil, MalformedError, where="created")


def _resign_targets(
    published: Published,
    folder: Path,
    targets: Metadata[Targets],
    *,
    snapshot_expires: dt.datetime = BUNDLE_EXPIRES,
) -> Path:
    """Publish ``targets`` in the place of the right ones, all signed properly."""

    shutil.copytree(published.folder, folder)
    keys = published.keys
    targets.sign(keys.release)
    data = targets.to_bytes()
    snapshot = Metadata(
        Snapshot(
            version=1,
            expires=snapshot_expires,
            meta={"targets.json": MetaFile.from_data(1, data, ["sha256"])},
        )
    )
    snapshot.sign(keys.bundler)
    timestamp = Metadata(
        Timestamp(
            version=1,
            expires=BUNDLE_EXPIRES,
            snapshot_meta=MetaFile.from_data(1, snapshot.to_bytes(), ["sha256"]),
        )
    )
    timestamp.sign(keys.bundler)
    (folder / TARGETS).write_bytes(data)
    (folder / SNAPSHOT).write_bytes(snapshot.to_bytes())
    (folder / TIMESTAMP).write_bytes(timestamp.to_bytes())
    return folder


def test_a_target_outside_the_manifest_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    chunk = next(
        file for path, file in targets.signed.targets.items() if path[0] == "c"
    )
    targets.signed.targets["../../etc/passwd"] = chunk
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where="'../../etc/passwd'")


def test_a_chunk_that_is_no_target_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    path = next(path for path in targets.signed.targets if path[0] == "c")
    del targets.signed.targets[path]
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where=ascii(path))


def test_targets_without_a_manifest_are_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    del targets.signed.targets["targets/manifest.json"]
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where="targets/manifest.json")


def test_a_target_hashed_another_way_is_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    path = next(path for path in targets.signed.targets if path[0] == "c")
    targets.signed.targets[path].hashes["sha512"] = "0" * 128
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where=ascii(path))


def test_delegations_are_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    key = published.keys.release.public_key
    role = DelegatedRole(
        name="more", keyids=[key.keyid], threshold=1, terminating=True, paths=["*"]
    )
    targets.signed.delegations = Delegations({key.keyid: key}, {"more": role})
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where="targets")


def test_targets_of_another_version_are_refused(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    targets = Metadata[Targets].from_file(str(published.folder / TARGETS))
    targets.signed.version = 2
    evil = _resign_targets(published, tmp_path / "evil", targets)
    host.refuses(evil, MalformedError, where=TARGETS)


def test_an_expired_bundle_is_refused_with_both_times(
    published: Published, host: BundleHost
) -> None:
    host.refuses(published.folder, ExpiredError, where=TIMESTAMP, now=BUNDLE_EXPIRES)
    with pytest.raises(ExpiredError) as caught:
        host.look(published.folder, now=BUNDLE_EXPIRES + DAY)
    assert format_moment(BUNDLE_EXPIRES) in caught.value.expected
    assert format_moment(BUNDLE_EXPIRES + DAY) in caught.value.actual
    last = BUNDLE_EXPIRES - dt.timedelta(seconds=1)
    assert host.look(published.folder, now=last).expires == BUNDLE_EXPIRES


def test_an_expired_root_is_refused_although_its_bundle_is_not(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    late = republish(published, tmp_path / "late", expires=NOW + 2_000 * DAY)
    host.refuses(late.folder, ExpiredError, where="root", now=NOW + 1_500 * DAY)
    with pytest.raises(ExpiredError) as caught:
        host.look(late.folder, now=NOW + 1_500 * DAY)
    assert format_moment(ROOT_EXPIRES) in caught.value.expected


def test_a_clock_set_back_does_not_revive_an_expired_bundle(
    published: Published, host: BundleHost, tmp_path: Path
) -> None:
    # The host accepted a later bundle, so it knows that this time has passed.
    later = replace(published.manifest, created=BUNDLE_EXPIRES + DAY, version=2)
    newer = republish(
        published, tmp_path / "v2", manifest=later, expires=BUNDLE_EXPIRES + 9 * DAY
    )
    host.accept(newer.folder, now=BUNDLE_EXPIRES + DAY)
    assert host.floor is not None
    assert host.floor.time_floor == BUNDLE_EXPIRES + DAY
    stale = replace(published.manifest, created=NOW, version=3)
    frozen = republish(published, tmp_path / "v3", manifest=stale)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    host.refuses(frozen.folder, ExpiredError, where=TIMESTAMP, now=epoch)


@pytest.mark.parametrize(
    ("now", "floor_decides"), [(NOW, True), (BUNDLE_EXPIRES + 2 * DAY, False)]
)
def test_a_refusal_for_expiry_blames_the_clock_only_if_the_clock_decided(
    published: Published,
    host: BundleHost,
    *,
    now: dt.datetime,
    floor_decides: bool,
) -> None:
    host.floor = TrustFloor(
        root_version=1, bundle_version=1, time_floor=BUNDLE_EXPIRES + DAY
    )
    with pytest.raises(ExpiredError) as caught:
        host.look(published.folder, now=now)
    text = f"{caught.value.problem} {caught.value.hint}"
    assert (format_moment(BUNDLE_EXPIRES + DAY) in text) is floor_decides
    assert ("clock" in text) is not floor_decides


def test_the_floor_follows_signed_times_and_never_the_clock(
    published: Published, host: BundleHost
) -> None:
    bundle = host.accept(published.folder, now=NOW + 300 * DAY)
    assert bundle.floor.time_floor == NOW


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("timestamp_bytes", TIMESTAMP),
        ("snapshot_bytes", SNAPSHOT),
        ("targets_bytes", TARGETS),
        ("manifest_bytes", "targets/manifest.json"),
    ],
)
def test_a_file_above_its_cap_is_refused(
    published: Published, host: BundleHost, name: str, where: str
) -> None:
    limits = replace(DEFAULT_LIMITS, **{name: 100})
    host.refuses(published.folder, LimitExceededError, where=where, limits=limits)


def test_a_folder_that_is_no_bundle_is_refused(
    host: BundleHost, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    host.refuses(tmp_path / "empty", MissingError, where="metadata")


@pytest.mark.parametrize("path", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_every_changed_byte_of_metadata_is_refused_or_changes_nothing(
    published: Published, host: BundleHost, path: str
) -> None:
    good = host.look(published.folder)
    whole = (published.folder / path).read_bytes()
    for position in range(0, len(whole), 3):
        data = bytearray(whole)
        data[position] ^= 0x11
        (published.folder / path).write_bytes(data)
        with Volume(published.folder) as volume:
            try:
                bundle = verify_metadata(
                    volume,
                    state=host.state,
                    floor=None,
                    now=NOW,
                    scratch=host.scratch,
                    limits=DEFAULT_LIMITS,
                )
            except (SignatureError, DigestMismatchError, MalformedError):
                continue
        # A byte outside the signed part, such as white space.
        assert bundle.manifest_bytes == good.manifest_bytes
    assert list(host.scratch.iterdir()) == []
