"""Rotation and revocation end to end: the publisher's folder, a host's eyes."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from bundleformat.errors import RollbackError, SignatureError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import TrustFloor, TrustState, fingerprint, initial_state
from bundleformat.verify import VerifiedBundle, verify_metadata
from bundleformat.volume import Volume
from bundler.roots.change import AddKeys, RemoveKeys
from bundler.roots.folder import read_root_folder
from bundler.signing.publish import PublishingKeys
from bundler.trust_bundle_flow import TrustPlan, build_trust_bundle
from tests.support.publisher import BUNDLE_EXPIRES, NOW, Keys, new_keys
from tests.support.root_folder import change, new_root_folder, plan_of, sign


@dataclass
class Host:
    """An isolated host's trust in one channel, without the rest of it."""

    state: TrustState
    floor: TrustFloor | None
    scratch: Path

    def looks_at(self, folder: Path) -> VerifiedBundle:
        with Volume(folder) as volume:
            return verify_metadata(
                volume,
                state=self.state,
                floor=self.floor,
                now=NOW,
                scratch=self.scratch,
                limits=DEFAULT_LIMITS,
            )

    def takes(self, folder: Path) -> VerifiedBundle:
        bundle = self.looks_at(folder)
        self.state, self.floor = bundle.state, bundle.floor
        return bundle

    def refuses(self, folder: Path, kind: type[Exception]) -> None:
        before = (self.state, self.floor)
        with pytest.raises(kind) as caught:
            self.looks_at(folder)
        assert type(caught.value) is kind
        assert (self.state, self.floor) == before
        assert list(self.scratch.iterdir()) == []


@dataclass
class Publisher:
    """A root folder with a 2-of-3 root, and what it publishes."""

    folder: Path
    keys: Keys
    shelf: Path

    def publishes(
        self,
        version: int,
        *,
        release: CryptoSigner | None = None,
        bundler: CryptoSigner | None = None,
    ) -> Path:
        """Publish with these keys and every root in force now."""
        out = self.shelf / f"bundle-{version}-{len(list(self.shelf.iterdir()))}"
        plan = TrustPlan(
            roots=read_root_folder(self.folder),
            version=version,
            keys=PublishingKeys(
                release=(release or self.keys.release,),
                bundler=(bundler or self.keys.bundler,),
            ),
            out=out,
            created=NOW - dt.timedelta(hours=1),
            expires=BUNDLE_EXPIRES,
        )
        build_trust_bundle(plan, now=NOW, limits=DEFAULT_LIMITS)
        return out


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    keys = new_keys(roots=3)
    folder = new_root_folder(
        tmp_path / "root", plan_of(keys, signing=(0, 1), threshold=2)
    )
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    return Publisher(folder, keys, shelf)


@pytest.fixture
def host(publisher: Publisher, tmp_path: Path) -> Host:
    root = read_root_folder(publisher.folder)[0]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    return Host(state, None, scratch)


def replaced(publisher: Publisher, role: str, old: CryptoSigner) -> CryptoSigner:
    """Replace a key of ``role``, with the second holder of the root absent."""
    new = CryptoSigner.generate_ed25519()
    change(
        publisher.folder,
        AddKeys(role=role, keys=(new.public_key,)),  # type: ignore[arg-type]
        RemoveKeys(role=role, key_ids=(old.public_key.keyid,)),  # type: ignore[arg-type]
    )
    root = publisher.keys.root
    done = sign(publisher.folder, (root[0],), (root[2],))
    assert done.in_force is not None
    return new


def test_a_revoked_release_key_is_refused_once_a_trust_bundle_was_taken(
    publisher: Publisher, host: Host
) -> None:
    stolen = publisher.keys.release
    host.takes(publisher.publishes(1))
    # What a thief with the old release key and an accomplice would publish.
    forged = publisher.publishes(3, release=stolen)
    new = replaced(publisher, "release", stolen)
    bundle = host.takes(publisher.publishes(2, release=new))
    assert (bundle.root_version, bundle.manifest.purpose) == (2, "trust")
    host.refuses(forged, SignatureError)
    host.takes(publisher.publishes(4, release=new))


def test_a_revoked_bundler_key_is_refused_once_a_trust_bundle_was_taken(
    publisher: Publisher, host: Host
) -> None:
    stolen = publisher.keys.bundler
    host.takes(publisher.publishes(1))
    forged = publisher.publishes(9, bundler=stolen)
    new = replaced(publisher, "bundler", stolen)
    host.takes(publisher.publishes(2, bundler=new))
    host.refuses(forged, SignatureError)


def test_a_fast_forward_by_a_stolen_bundler_key_is_answered_by_its_revocation(
    publisher: Publisher, host: Host
) -> None:
    host.takes(publisher.publishes(1))
    forged = publisher.publishes(2**31 - 1)
    new = replaced(publisher, "bundler", publisher.keys.bundler)
    host.takes(publisher.publishes(2, bundler=new))
    host.refuses(forged, SignatureError)
    host.takes(publisher.publishes(3, bundler=new))


def test_before_the_trust_bundle_a_host_cannot_know_of_the_revocation(
    publisher: Publisher, host: Host
) -> None:
    forged = publisher.publishes(5)
    replaced(publisher, "bundler", publisher.keys.bundler)
    host.looks_at(forged)


def test_no_older_root_is_taken_back(publisher: Publisher, host: Host) -> None:
    old = publisher.publishes(1)
    new = replaced(publisher, "release", publisher.keys.release)
    host.takes(publisher.publishes(2, release=new))
    host.refuses(old, RollbackError)


def test_a_pending_root_never_enters_a_bundle(publisher: Publisher, host: Host) -> None:
    new = CryptoSigner.generate_ed25519()
    change(publisher.folder, AddKeys(role="release", keys=(new.public_key,)))
    sign(publisher.folder, (publisher.keys.root[0],))
    folder = publisher.publishes(1)
    assert [path.name for path in folder.rglob("*.root*.json")] == ["1.root.json"]
    assert host.takes(folder).root_version == 1


def test_a_host_that_missed_every_rotation_follows_the_chain(
    publisher: Publisher, host: Host
) -> None:
    release, bundler = publisher.keys.release, publisher.keys.bundler
    for _ in range(2):
        release = replaced(publisher, "release", release)
        bundler = replaced(publisher, "bundler", bundler)
    bundle = host.takes(publisher.publishes(8, release=release, bundler=bundler))
    assert bundle.root_version == 5
    assert sorted(host.state.roots()) == [1, 2, 3, 4, 5]
