"""An import of a bundle of each profile, and of one that a profile refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.intake import trust_state
from bundleformat.errors import MalformedError, SignatureError
from bundleformat.manifest import Digest
from bundleformat.profile import Profile
from bundler.signing.keys import FileKeyKind
from tests.support.importing import CHUNK_BYTES, Host, import_bundle, new_host, refuse
from tests.support.publisher import (
    Published,
    make_root,
    new_keys,
    next_root,
    next_version,
    publish_bundle,
)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A hybrid bundle whose root needs two of four holders."""
    keys = new_keys(roots=4, kind="hybrid")
    return publish_bundle(
        tmp_path_factory.mktemp("hybrid") / "bundle",
        policies=[("local", b"// a policy\n")],
        keys=keys,
        roots=[make_root(keys, threshold=2)],
    )


@pytest.fixture
def hybrid_host(tmp_path: Path, hybrid: Published) -> Iterator[Host]:
    host = new_host(tmp_path / "home", hybrid)
    yield host
    host.close()


def test_a_root_by_every_classical_key_is_refused_and_changes_no_trust(
    tmp_path: Path, hybrid: Published, hybrid_host: Host
) -> None:
    stolen = next_root(hybrid.root, signers=hybrid.keys.root)
    evil = next_version(hybrid, tmp_path / "evil", roots=[hybrid.root, stolen])
    error = refuse(hybrid_host, evil.folder, SignatureError)
    assert error.where == "root 2"
    with hybrid_host.database.begin() as connection:
        state = trust_state.load(connection, "main").state
    assert state == hybrid.state()
    import_bundle(hybrid_host.parts(), hybrid.folder)
    assert hybrid_host.active() == {"main": 1}


def test_a_cnsa_bundle_hashed_by_sha256_is_refused(tmp_path: Path) -> None:
    bundle = publish_bundle(
        tmp_path / "bundle",
        policies=[("local", b"// a policy\n")],
        keys=new_keys(kind="ml-dsa-87"),
    )
    host = new_host(tmp_path / "home", bundle)
    try:
        assert refuse(host, bundle.folder, MalformedError).where == "digest"
    finally:
        host.close()


@pytest.mark.parametrize(
    ("profile", "kind", "digest"),
    [
        ("standard", "ed25519", "sha256"),
        ("hybrid", "hybrid", "sha256"),
        ("cnsa", "ml-dsa-87", "sha384"),
    ],
)
def test_a_bundle_of_each_profile_is_imported(
    tmp_path: Path, tiny: Path, profile: Profile, kind: FileKeyKind, digest: Digest
) -> None:
    keys = new_keys(roots=2, kind=kind)
    bundle = publish_bundle(
        tmp_path / "bundle",
        models=[("tiny", tiny, None)],
        policies=[("local", b"// a policy\n")],
        chunk_bytes=CHUNK_BYTES,
        keys=keys,
        roots=[make_root(keys, profile=profile)],
        digest=digest,
    )
    host = new_host(tmp_path / "home", bundle)
    try:
        import_bundle(host.parts(), bundle.folder)
        assert host.active() == {"main": 1}
    finally:
        host.close()
