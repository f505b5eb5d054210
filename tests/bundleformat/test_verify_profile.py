"""Bundles of the three profiles; what one kind of stolen keys achieves: nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    SignatureError,
)
from bundleformat.layout import MANIFEST_PATH, snapshot_path, targets_path
from bundleformat.manifest import Digest, Manifest, encode_manifest
from bundleformat.profile import PROFILE_FIELD, Profile
from bundler.signing.keys import FileKeyKind
from bundler.signing.publish import add_signatures, publish, unsigned_targets
from tests.support.bundle_host import BundleHost
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    TERMS,
    Keys,
    Published,
    make_root,
    new_keys,
    next_root,
    next_version,
    publish_bundle,
    republish,
)

ROLES = ("targets", "snapshot", "timestamp")
TIMESTAMP = "metadata/timestamp.json"


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Four root holders of whom two must sign; everybody has two keys."""
    return new_keys(roots=4, kind="hybrid")


@pytest.fixture(scope="module")
def second() -> Keys:
    """A second release and bundler holder."""
    return new_keys(kind="hybrid")


@pytest.fixture
def published(tmp_path: Path, keys: Keys, second: Keys) -> Published:
    """A bundle of a hybrid channel, any holder of a role may sign."""

    def join(root: Root) -> None:
        for each in second.both:
            root.add_key(each.release.public_key, "targets")
            root.add_key(each.bundler.public_key, "snapshot")
            root.add_key(each.bundler.public_key, "timestamp")

    root = next_root(
        make_root(keys, threshold=2), signers=keys.all_root, change=join, version=1
    )
    return bundle_of(tmp_path, keys, roots=[root])


@pytest.fixture
def host(tmp_path: Path, published: Published) -> BundleHost:
    return BundleHost(tmp_path / "scratch", published.state())


def bundle_of(
    tmp_path: Path,
    keys: Keys,
    *,
    roots: Sequence[bytes] = (),
    digest: Digest = "sha256",
) -> Published:
    source = tmp_path / "m.gguf"
    source.write_bytes(bytes(range(256)) * 20)
    return publish_bundle(
        tmp_path / "bundle",
        models=[("m", source, TERMS)],
        policies=[("site", b"permit (principal, action, resource);\n")],
        chunk_bytes=2_000,
        keys=keys,
        roots=roots,
        digest=digest,
    )


def one_kind(kind: str, *holders: Keys) -> tuple[Keys, ...]:
    """Return the keys of one kind that these people have."""
    return tuple(each.both[0 if kind == "classical" else 1] for each in holders)


def write_signed(
    folder: Path,
    manifest: Manifest,
    signers: dict[str, tuple[Signer, ...]],
) -> None:
    """Write metadata in which each role is signed as told."""
    version, expires = manifest.version, BUNDLE_EXPIRES
    targets = add_signatures(
        unsigned_targets(manifest, expires=expires), signers=signers["targets"]
    )
    snapshot = add_signatures(
        Metadata(
            Snapshot(
                version=version,
                expires=expires,
                meta={"targets.json": MetaFile.from_data(version, targets, ["sha256"])},
            )
        ).to_bytes(),
        signers=signers["snapshot"],
    )
    timestamp = add_signatures(
        Metadata(
            Timestamp(
                version=version,
                expires=expires,
                snapshot_meta=MetaFile.from_data(version, snapshot, ["sha256"]),
            )
        ).to_bytes(),
        signers=signers["timestamp"],
    )
    (folder / targets_path(version)).write_bytes(targets)
    (folder / snapshot_path(version)).write_bytes(snapshot)
    (folder / TIMESTAMP).write_bytes(timestamp)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["classical", "ml-dsa"])
def test_a_role_signed_with_all_stolen_keys_of_one_kind_is_refused(
    published: Published,
    host: BundleHost,
    keys: Keys,
    second: Keys,
    role: str,
    kind: str,
) -> None:
    signers = {
        "targets": keys.publishing.release,
        "snapshot": keys.publishing.bundler,
        "timestamp": keys.publishing.bundler,
    }
    stolen = one_kind(kind, keys, second)
    # Two signatures: as many as TUF asks for.
    signers[role] = tuple(
        each.release if role == "targets" else each.bundler for each in stolen
    )
    write_signed(published.folder, published.manifest, signers)
    host.refuses(published.folder, SignatureError, where=role)


@pytest.mark.parametrize("kind", ["classical", "ml-dsa"])
def test_a_new_root_by_all_stolen_keys_of_one_kind_is_refused(
    published: Published, host: BundleHost, tmp_path: Path, keys: Keys, kind: str
) -> None:
    stolen = one_kind(kind, keys)[0].root
    evil_keys = new_keys(kind="hybrid")

    def take_over(root: Root) -> None:
        for role, newcomers in (
            ("root", evil_keys.all_root),
            ("targets", evil_keys.publishing.release),
            ("snapshot", evil_keys.publishing.bundler),
            ("timestamp", evil_keys.publishing.bundler),
        ):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            for newcomer in newcomers:
                root.add_key(newcomer.public_key, role)
            root.roles[role].threshold = 2

    root = next_root(
        published.root, signers=(*stolen, *evil_keys.all_root), change=take_over
    )
    evil = next_version(
        published,
        tmp_path / "evil",
        keys=evil_keys,
        roots=[published.root, root],
    )
    host.refuses(evil.folder, SignatureError, where="root 2")
    host.accept(published.folder)


def test_a_root_that_asks_for_less_needs_both_kinds_of_signature(
    published: Published, host: BundleHost, tmp_path: Path, keys: Keys
) -> None:
    def weaken(root: Root) -> None:
        root.unrecognized_fields[PROFILE_FIELD] = "standard"

    weaker = next_root(published.root, signers=keys.root, change=weaken)
    evil = next_version(published, tmp_path / "evil", roots=[published.root, weaker])
    host.refuses(evil.folder, SignatureError, where="root 2")
    signed = next_root(published.root, signers=keys.all_root, change=weaken)
    good = next_version(published, tmp_path / "good", roots=[published.root, signed])
    host.accept(good.folder)


def test_a_root_that_asks_for_more_must_meet_it_itself(
    tmp_path: Path, keys: Keys
) -> None:
    assert keys.pq is not None
    classical = replace(keys, pq=None)
    first = bundle_of(tmp_path, classical, roots=[make_root(classical, threshold=2)])
    host = BundleHost(tmp_path / "scratch", first.state())
    pq = keys.pq

    def strengthen(root: Root) -> None:
        for role, signers in (
            ("root", pq.root),
            ("targets", (pq.release,)),
            ("snapshot", (pq.bundler,)),
            ("timestamp", (pq.bundler,)),
        ):
            for signer in signers:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold *= 2
        root.unrecognized_fields[PROFILE_FIELD] = "hybrid"
        root.unrecognized_fields["x-sallyport-compliance-keys"] = {}

    half = next_root(first.root, signers=keys.root, change=strengthen)
    evil = next_version(first, tmp_path / "evil", keys=keys, roots=[first.root, half])
    host.refuses(evil.folder, SignatureError, where="root 2")
    both = next_root(first.root, signers=keys.all_root, change=strengthen)
    good = next_version(first, tmp_path / "good", keys=keys, roots=[first.root, both])
    host.accept(good.folder)


def test_a_root_between_the_known_and_the_newest_is_held_to_its_profile(
    published: Published, host: BundleHost, tmp_path: Path, keys: Keys
) -> None:
    half = next_root(published.root, signers=keys.root)
    whole = next_root(half, signers=keys.all_root)
    evil = next_version(
        published, tmp_path / "evil", roots=[published.root, half, whole]
    )
    host.refuses(evil.folder, SignatureError, where="root 2")
    host.accept(published.folder)


def test_a_root_with_a_key_that_does_not_fit_is_refused_on_the_way(
    tmp_path: Path,
) -> None:
    cnsa = new_keys(kind="ml-dsa-87")
    bundle = bundle_of(tmp_path, cnsa, digest="sha384")
    host = BundleHost(tmp_path / "scratch", bundle.state())
    classical = new_keys().release.public_key
    root = next_root(
        bundle.root,
        signers=cnsa.root,
        change=lambda root: root.add_key(classical, "targets"),
    )
    evil = next_version(bundle, tmp_path / "evil", roots=[bundle.root, root])
    host.refuses(evil.folder, MalformedError)
    host.accept(bundle.folder)


def edit_signature(folder: Path, edit: Callable[[str], str]) -> None:
    """Change the first ML-DSA signature of the timestamp."""
    path = folder / TIMESTAMP
    value: dict[str, Any] = json.loads(path.read_bytes())
    entry = next(one for one in value["signatures"] if len(one["sig"]) > 1_000)
    entry["sig"] = edit(entry["sig"])
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    "edit",
    [
        lambda sig: sig[:-2],
        lambda sig: sig[:128],
        lambda sig: sig + "00",
        lambda sig: ("1" if sig[0] == "0" else "0") + sig[1:],
        lambda sig: "0" * len(sig),
        lambda _: "",
        lambda _: "no hexadecimal digits",
    ],
)
def test_a_damaged_ml_dsa_signature_is_refused(
    published: Published, host: BundleHost, edit: Callable[[str], str]
) -> None:
    edit_signature(published.folder, edit)
    host.refuses(published.folder, SignatureError, where=TIMESTAMP)


def test_an_oversized_signature_is_refused_by_the_size_of_its_file(
    published: Published, host: BundleHost
) -> None:
    edit_signature(published.folder, lambda sig: sig * 8)
    host.refuses(published.folder, LimitExceededError, where=TIMESTAMP)


def test_a_cnsa_bundle_hashed_by_sha256_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, new_keys(kind="ml-dsa-87"))
    host = BundleHost(tmp_path / "scratch", bundle.state())
    host.refuses(bundle.folder, MalformedError, where="digest")


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_metadata_named_by_another_digest_than_the_manifests_is_refused(
    tmp_path: Path, role: str
) -> None:
    keys = new_keys(kind="ml-dsa-87")
    bundle = bundle_of(tmp_path, keys, digest="sha384")
    host = BundleHost(tmp_path / "scratch", bundle.state())
    targets = (bundle.folder / targets_path(1)).read_bytes()
    algorithm = {"snapshot": "sha384", "timestamp": "sha384", role: "sha256"}
    snapshot = add_signatures(
        Metadata(
            Snapshot(
                expires=BUNDLE_EXPIRES,
                meta={
                    "targets.json": MetaFile.from_data(
                        1, targets, [algorithm["snapshot"]]
                    )
                },
            )
        ).to_bytes(),
        signers=[keys.bundler],
    )
    timestamp = add_signatures(
        Metadata(
            Timestamp(
                expires=BUNDLE_EXPIRES,
                snapshot_meta=MetaFile.from_data(1, snapshot, [algorithm["timestamp"]]),
            )
        ).to_bytes(),
        signers=[keys.bundler],
    )
    (bundle.folder / snapshot_path(1)).write_bytes(snapshot)
    (bundle.folder / TIMESTAMP).write_bytes(timestamp)
    host.refuses(bundle.folder, MalformedError, where=role)


@pytest.mark.parametrize(
    ("profile", "kind", "digest"),
    [
        ("standard", "ed25519", "sha256"),
        ("standard", "ed25519", "sha384"),
        ("standard", "ml-dsa-87", "sha256"),
        ("hybrid", "hybrid", "sha256"),
        ("hybrid", "hybrid", "sha384"),
        ("cnsa", "ml-dsa-87", "sha384"),
    ],
)
def test_a_bundle_of_each_profile_is_accepted_and_so_is_the_next(
    tmp_path: Path, profile: Profile, kind: FileKeyKind, digest: Digest
) -> None:
    keys = new_keys(roots=2, kind=kind)
    root = make_root(keys, profile=profile)
    bundle = bundle_of(tmp_path, keys, roots=[root], digest=digest)
    host = BundleHost(tmp_path / "scratch", bundle.state())
    found = host.accept(bundle.folder)
    publishing = keys.publishing
    assert set(found.signed_by) == {
        signer.public_key.keyid for signer in (*publishing.release, *publishing.bundler)
    }
    assert host.look(bundle.folder).fresh is False
    newer = next_root(root, signers=keys.all_root)
    host.accept(next_version(bundle, tmp_path / "v2", roots=[root, newer]).folder)


def test_what_is_signed_is_the_same_each_time_though_signatures_are_not(
    published: Published, tmp_path: Path, keys: Keys
) -> None:
    again = republish(published, tmp_path / "again")
    for path in (TIMESTAMP, snapshot_path(1), targets_path(1)):
        one, other = (
            json.loads((folder / path).read_bytes())
            for folder in (published.folder, again.folder)
        )
        assert one["signatures"] != other["signatures"]
        if path == targets_path(1):
            assert one["signed"] == other["signed"]
    assert (again.folder / MANIFEST_PATH).read_bytes() == encode_manifest(
        published.manifest
    )
    classical = replace(keys, pq=None).publishing
    first, second = (
        publish(published.manifest, keys=classical, expires=BUNDLE_EXPIRES)
        for _ in range(2)
    )
    assert first == second
