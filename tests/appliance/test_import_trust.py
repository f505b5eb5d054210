"""What an import makes of a version it knows: the same bundle, or another one."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from sqlalchemy import text
from tuf.api.metadata import Root

from appliance.import_steps.host import Imported, ImportPlan, Observer, Step
from appliance.intake import trust_state
from appliance.registry import catalogue
from bundleformat.digest import sha256_of
from bundleformat.errors import ConflictError, EquivocationError
from bundleformat.manifest import encode_manifest
from bundleformat.trust import TrustFloor, TrustState
from tests.support.importing import Host, import_bundle, preview_import, refuse
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    Keys,
    Published,
    next_root,
    next_version,
    publish_bundle,
    republish,
)


def trust_of(host: Host) -> tuple[TrustState, TrustFloor | None]:
    """Return the state and floor the host holds of the channel."""
    with host.database.begin() as connection:
        trust = trust_state.load(connection, "main")
    return trust.state, trust.floor


def rotated(bundle: Published) -> tuple[Keys, tuple[bytes, bytes]]:
    """Return keys with another bundler key, and the roots that lead to it."""
    fresh = replace(bundle.keys, bundler=CryptoSigner.generate_ed25519())

    def rotate(root: Root) -> None:
        for role in ("timestamp", "snapshot"):
            root.revoke_key(bundle.keys.bundler.public_key.keyid, role)
            root.add_key(fresh.bundler.public_key, role)

    second = next_root(bundle.root, signers=bundle.keys.root, change=rotate)
    return fresh, (bundle.root, second)


@pytest.fixture
def resigned(bundle: Published, tmp_path: Path) -> Published:
    """The bundle, signed again with the next root's bundler key."""
    keys, roots = rotated(bundle)
    return republish(bundle, tmp_path / "resigned", keys=keys, roots=roots)


def test_the_active_version_with_other_content_is_equivocation(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    # A rotated bundler key has TUF forget the timestamp, and with it the version.
    import_bundle(host.parts(), bundle.folder)
    keys, roots = rotated(bundle)
    stripped = publish_bundle(
        tmp_path / "stripped",
        policies=[("stricter", b"// another policy\n")],
        keys=keys,
        roots=roots,
    )
    rows = host.rows()
    with pytest.raises(EquivocationError):
        preview_import(host.parts(), stripped.folder)
    assert host.rows() == rows
    error = refuse(host, stripped.folder, EquivocationError)
    assert error.where == "main 1"
    assert error.expected == f"manifest {sha256_of(encode_manifest(bundle.manifest))}"
    assert error.actual == f"manifest {sha256_of(encode_manifest(stripped.manifest))}"
    record = json.loads(host.events("bundle.refused")[0])
    assert (record["step"], record["outcome"]) == ("preflight", "refused")


def test_an_inactive_version_with_other_content_is_equivocation(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    import_bundle(host.parts(), next_version(bundle, tmp_path / "newer").folder)
    # Trust that was lost and given again does not forget the generations.
    with host.database.begin() as connection:
        connection.execute(text("DELETE FROM trust_floor"))
    host.trust(bundle)
    other = publish_bundle(
        tmp_path / "other",
        policies=[("stricter", b"// another policy\n")],
        keys=bundle.keys,
        roots=bundle.roots,
    )
    refuse(host, other.folder, EquivocationError)
    with host.database.begin() as connection, pytest.raises(EquivocationError):
        catalogue.activate(
            connection,
            manifest=other.manifest,
            manifest_bytes=encode_manifest(other.manifest),
            now=host.clock.now(),
        )
    assert host.active() == {"main": 2}


def test_a_newer_root_that_comes_with_the_active_bundle_is_kept_on_record(
    host: Host, bundle: Published, resigned: Published
) -> None:
    first = import_bundle(host.parts(), bundle.folder)
    seen: list[Step] = []
    rows, files = host.rows(), host.files()
    plan = preview_import(host.parts(), resigned.folder)
    assert plan.updates_trust
    assert (host.rows(), host.files()) == (rows, files)
    again = import_bundle(
        host.parts(), resigned.folder, observer=Observer(on_step=seen.append)
    )
    assert (again.already_active, again.trust_updated) == (True, True)
    assert again.generation == first.generation
    assert seen == [Step.LOCK, Step.VERIFY, Step.PREFLIGHT, Step.ACTIVATE, Step.DONE]
    assert trust_of(host) == (again.bundle.state, again.bundle.floor)
    assert again.bundle.floor.root_version == 2
    (record,) = map(json.loads, host.events("trust.updated"))
    assert (record["channel"], record["root_version"]) == ("main", 2)
    assert host.rows()["generation"] == rows["generation"]
    assert len(host.events("bundle.imported")) == 1
    rows = host.rows()
    assert not import_bundle(host.parts(), resigned.folder).trust_updated
    assert host.rows() == rows


def test_a_newer_root_that_comes_with_a_repair_is_kept_after_it(
    host: Host, bundle: Published, resigned: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    host.store.path_of(bundle.manifest.artifacts[0].sha256).unlink()
    done = import_bundle(host.parts(), resigned.folder)
    assert (done.repaired, done.trust_updated) == (("tiny",), True)
    assert trust_of(host) == (done.bundle.state, done.bundle.floor)


def test_an_expiry_accepted_for_a_repair_and_a_newer_root_is_on_record_once(
    host: Host, bundle: Published, resigned: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    host.store.path_of(bundle.manifest.artifacts[0].sha256).unlink()
    host.clock.moment = BUNDLE_EXPIRES + dt.timedelta(days=1)
    done = import_bundle(host.parts(), resigned.folder, accept_expired="ticket 42")
    assert (done.repaired, done.trust_updated) == (("tiny",), True)
    events = ("bundle.expiry_accepted", "bundle.repaired", "trust.updated")
    assert [len(host.events(event)) for event in events] == [1, 1, 1]


def test_trust_that_changes_meanwhile_is_not_overwritten_by_a_newer_root(
    host: Host, bundle: Published, resigned: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)

    def interfere(step: Step) -> None:
        if step is Step.ACTIVATE:
            host.trust(bundle)

    with pytest.raises(ConflictError):
        import_bundle(
            host.parts(), resigned.folder, observer=Observer(on_step=interfere)
        )
    assert trust_of(host)[0] == bundle.state()
    assert host.events("trust.updated") == []


@pytest.mark.parametrize("run", [preview_import, import_bundle])
def test_what_a_newer_version_withdraws_is_said(
    host: Host,
    bundle: Published,
    tmp_path: Path,
    run: Callable[..., ImportPlan | Imported],
) -> None:
    first = import_bundle(host.parts(), bundle.folder)
    assert first.withdrawn == ()
    fewer = publish_bundle(
        tmp_path / "fewer",
        policies=[("stricter", b"// another policy\n")],
        version=2,
        keys=bundle.keys,
        roots=bundle.roots,
    )
    done = run(host.parts(), fewer.folder)
    assert [(each.kind, each.name) for each in done.withdrawn] == [
        ("model", "tiny"),
        ("policy", "local"),
    ]
