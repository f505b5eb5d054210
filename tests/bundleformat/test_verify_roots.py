"""Root rotation: what a new root needs, and what a broken chain gives."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root

from bundleformat.errors import (
    ConflictError,
    EquivocationError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.paths import ArchivePath
from bundleformat.trust import CHANNEL_FIELD, initial_state
from bundleformat.verify import verify_metadata
from bundleformat.volume import Volume
from tests.support.bundle_host import BundleHost
from tests.support.publisher import (
    NOW,
    Keys,
    Published,
    make_root,
    new_keys,
    next_root,
    next_version,
    publish_bundle,
    republish,
)

ROOT_2 = "metadata/2.root.json"


@pytest.fixture
def keys() -> Keys:
    return new_keys(roots=3)


@pytest.fixture
def published(tmp_path: Path, keys: Keys) -> Published:
    """A bundle of a channel whose root needs two of three keys."""
    return publish_bundle(
        tmp_path / "bundle",
        policies=[("site", b"permit (principal, action, resource);\n")],
        keys=keys,
        roots=[make_root(keys, threshold=2)],
    )


@pytest.fixture
def newcomer() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


def replace_third(root: Root, keys: Keys, newcomer: CryptoSigner) -> None:
    root.revoke_key(keys.root[2].public_key.keyid, Root.type)
    root.add_key(newcomer.public_key, Root.type)


def test_a_root_with_a_threshold_of_two_is_accepted(
    published: Published, host: BundleHost
) -> None:
    assert host.look(published.folder).root_version == 1


def test_a_rotated_root_is_followed_and_kept(
    published: Published,
    host: BundleHost,
    keys: Keys,
    newcomer: CryptoSigner,
    tmp_path: Path,
) -> None:
    second = next_root(
        published.root,
        signers=keys.root[:2],
        change=lambda root: replace_third(root, keys, newcomer),
    )
    newer = next_version(published, tmp_path / "v2", roots=(published.root, second))
    bundle = host.accept(newer.folder)
    assert bundle.root_version == 2
    assert bundle.floor.root_version == 2
    assert bundle.state.newest_root() == second
    assert bundle.state.roots() == {1: published.root, 2: second}


def test_a_medium_with_only_the_old_root_is_accepted_by_a_host_that_has_the_new_one(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    second = next_root(published.root, signers=keys.root[:2])
    newer = next_version(published, tmp_path / "v2", roots=(published.root, second))
    host.accept(newer.folder)
    (newer.folder / ROOT_2).unlink()
    assert host.look(newer.folder).root_version == 2


@pytest.mark.parametrize("signers", [(0,), (0, "new"), ("new",), ()])
def test_a_new_root_signed_by_too_few_old_keys_is_refused(
    published: Published,
    host: BundleHost,
    keys: Keys,
    newcomer: CryptoSigner,
    tmp_path: Path,
    signers: tuple[int | str, ...],
) -> None:
    second = next_root(
        published.root,
        signers=[newcomer if s == "new" else keys.root[int(s)] for s in signers],
        change=lambda root: replace_third(root, keys, newcomer),
    )
    evil = next_version(published, tmp_path / "v2", roots=(published.root, second))
    host.refuses(evil.folder, SignatureError, where=ROOT_2)


def test_a_root_that_holds_another_version_than_its_name_is_refused(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    second = next_root(published.root, signers=keys.root, version=3)
    evil = next_version(published, tmp_path / "v2", roots=(published.root, second))
    host.refuses(evil.folder, MalformedError, where=ROOT_2)


def test_more_roots_than_a_chain_may_have_are_refused_and_none_is_passed_over(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    # The library would stop in the middle, at a root that later ones have replaced.
    roots = [published.root]
    for _ in range(3):
        roots.append(next_root(roots[-1], signers=keys.root[:2]))
    newer = next_version(published, tmp_path / "v2", roots=roots)
    limits = replace(DEFAULT_LIMITS, root_files=3)
    host.refuses(newer.folder, LimitExceededError, where="metadata", limits=limits)
    assert host.look(newer.folder).root_version == 4


def test_a_root_whose_threshold_is_true_is_refused(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    # To Python it is 1: a record of it would be no number, and nobody would count.
    def change(root: Root) -> None:
        root.roles["targets"].threshold = True

    second = next_root(published.root, signers=keys.root[:2], change=change)
    evil = next_version(published, tmp_path / "v2", roots=(published.root, second))
    host.refuses(evil.folder, MalformedError, where=f"{ROOT_2}: 'threshold'")


def test_a_gap_in_the_chain_is_named(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    second = next_root(published.root, signers=keys.root)
    third = next_root(second, signers=keys.root)
    newer = next_version(
        published, tmp_path / "v2", roots=(published.root, second, third)
    )
    (newer.folder / ROOT_2).unlink()
    host.refuses(newer.folder, MissingError, where=ROOT_2)


def test_a_bundle_signed_by_a_revoked_key_is_refused(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    fresh = replace(keys, release=CryptoSigner.generate_ed25519())

    def revoke(root: Root) -> None:
        root.revoke_key(keys.release.public_key.keyid, "targets")
        root.add_key(fresh.release.public_key, "targets")

    second = next_root(published.root, signers=keys.root[:2], change=revoke)
    roots = (published.root, second)
    host.accept(
        next_version(published, tmp_path / "v2", keys=fresh, roots=roots).folder
    )
    third = replace(published.manifest, version=3)
    evil = republish(published, tmp_path / "v3", manifest=third)
    host.refuses(evil.folder, SignatureError, where="metadata/3.targets.json")


def test_rotating_the_bundler_key_does_not_allow_a_rollback(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    # TUF forgets the timestamp when its key is rotated; the floor does not.
    host.accept(next_version(published, tmp_path / "v2").folder)
    fresh = replace(keys, bundler=CryptoSigner.generate_ed25519())

    def rotate(root: Root) -> None:
        for role in ("timestamp", "snapshot"):
            root.revoke_key(keys.bundler.public_key.keyid, role)
            root.add_key(fresh.bundler.public_key, role)

    second = next_root(published.root, signers=keys.root[:2], change=rotate)
    old = republish(
        published, tmp_path / "old", keys=fresh, roots=(published.root, second)
    )
    host.refuses(old.folder, RollbackError, where="bundle")


def test_two_second_roots_are_equivocation(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    second = next_root(published.root, signers=keys.root[:2])
    host.accept(
        next_version(published, tmp_path / "v2", roots=(published.root, second)).folder
    )

    def prolong(root: Root) -> None:
        root.expires += dt.timedelta(days=1)

    other = next_root(published.root, signers=keys.root[:2], change=prolong)
    evil = next_version(published, tmp_path / "evil", roots=(published.root, other))
    host.refuses(evil.folder, EquivocationError, where=ROOT_2)


def test_a_root_that_gained_a_signature_is_the_same_root(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    again = next_root(published.root, signers=keys.root[1:], version=1)
    assert again != published.root
    copy = republish(published, tmp_path / "copy", roots=(again,))
    assert host.look(copy.folder).root_version == 1


def test_a_new_root_cannot_move_the_host_to_another_channel(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    def move(root: Root) -> None:
        root.unrecognized_fields[CHANNEL_FIELD] = "other"

    second = next_root(published.root, signers=keys.root[:2], change=move)
    evil = next_version(published, tmp_path / "v2", roots=(published.root, second))
    host.refuses(evil.folder, ConflictError, where=ROOT_2)


def test_a_new_root_of_another_channel_is_refused_by_what_was_verified_too(
    published: Published, host: BundleHost, keys: Keys, tmp_path: Path
) -> None:
    # What a medium claims may change between two readings of it.
    second = next_root(
        published.root,
        signers=keys.root[:2],
        change=lambda root: root.unrecognized_fields.update({CHANNEL_FIELD: "other"}),
    )
    evil = next_version(published, tmp_path / "v2", roots=(published.root, second))
    with TwoFaced(evil.folder, first=published.root) as volume:
        with pytest.raises(MalformedError) as caught:
            verify_metadata(
                volume,
                state=host.state,
                floor=None,
                now=NOW,
                scratch=host.scratch,
                limits=DEFAULT_LIMITS,
            )
        assert (caught.value.where, caught.value.actual) == ("root", "other")


class TwoFaced(Volume):
    """A medium whose second root reads as ``first`` the first time."""

    def __init__(self, folder: Path, *, first: bytes) -> None:
        super().__init__(folder)
        self._faces = [first]

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        if path == ROOT_2 and self._faces:
            return self._faces.pop()
        return super().read(path, max_bytes=max_bytes)


def test_a_medium_of_another_channel_is_told_from_an_altered_one(
    host: BundleHost, tmp_path: Path
) -> None:
    other = publish_bundle(
        tmp_path / "other",
        policies=[("site", b"permit (principal, action, resource);\n")],
        channel="pilot",
    )
    with pytest.raises(ConflictError) as caught:
        host.look(other.folder)
    assert caught.value.where == "metadata/1.root.json"
    assert caught.value.problem == (
        "this bundle says it is of channel pilot; this machine was asked about "
        "channel main"
    )
    assert "--channel" in caught.value.hint
    assert list(host.scratch.iterdir()) == []


@pytest.mark.parametrize("claim", ["\x1b[2J", "", "Pilot"])
def test_a_claim_that_is_no_channel_name_is_malformed(
    published: Published, host: BundleHost, claim: str
) -> None:
    path = published.folder / "metadata" / "1.root.json"
    value = json.loads(path.read_bytes())
    value["signed"][CHANNEL_FIELD] = claim
    path.write_text(json.dumps(value))
    host.refuses(
        published.folder,
        MalformedError,
        where=f"metadata/1.root.json: {CHANNEL_FIELD}",
    )


def test_a_host_may_begin_with_a_later_root(
    published: Published, keys: Keys, tmp_path: Path
) -> None:
    second = next_root(published.root, signers=keys.root[:2])
    third = next_root(second, signers=keys.root[:2])
    newer = next_version(
        published, tmp_path / "v2", roots=(published.root, second, third)
    )
    state = initial_state(
        second,
        fingerprint=replace(published, roots=(second,)).fingerprint,
        now=NOW,
    )
    host = BundleHost(tmp_path / "late-host", state)
    assert host.accept(newer.folder).root_version == 3
    assert sorted(host.state.roots()) == [2, 3]
