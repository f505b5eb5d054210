"""A trust state that was put back is noticed, and can only be begun anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.commission_flow import initialise_trust
from appliance.home import Home
from appliance.intake import trust_state
from bundleformat.errors import ConflictError, RollbackError
from bundleformat.trust import fingerprint
from tests.support.importing import Clock, Host, import_bundle, new_host
from tests.support.publisher import (
    Published,
    next_root,
    next_version,
    publish_bundle,
)

POLICY = ("site", b"permit(principal, action, resource);")


@pytest.fixture
def first(tmp_path: Path) -> Published:
    return publish_bundle(tmp_path / "first", policies=(POLICY,))


@pytest.fixture
def host(tmp_path: Path, first: Published) -> Iterator[Host]:
    made = new_host(tmp_path / "home", first)
    yield made
    made.close()


def put_back(host: Host, first: Published, second: Published) -> None:
    """Accept two bundles, then write yesterday's trust files over today's."""
    import_bundle(host.parts(), first.folder)
    with host.database.begin() as connection:
        old = trust_state.load(connection, "main").state
    import_bundle(host.parts(), second.folder)
    with host.database.begin() as connection:
        trust_state.save(connection, channel="main", state=old, floor=None)


def test_a_trust_state_that_was_put_back_is_refused_and_begun_anew(
    tmp_path: Path, host: Host, first: Published
) -> None:
    second = next_version(first, tmp_path / "second")
    third = next_version(second, tmp_path / "third")
    put_back(host, first, second)
    before = host.files()
    for medium in (first, second, third):
        with pytest.raises(RollbackError) as caught:
            import_bundle(host.parts(), medium.folder)
        assert caught.value.where == "trust state"
    assert host.files() == before
    assert host.active() == {"main": 2}
    initialise_trust(
        Home(host.home), first.root, fingerprint=first.fingerprint, clock=Clock()
    )
    with pytest.raises(RollbackError) as caught:
        import_bundle(host.parts(), first.folder)
    assert caught.value.where == "bundle"
    import_bundle(host.parts(), third.folder)
    assert host.active() == {"main": 3}


def test_a_wiped_trust_state_keeps_its_floor(
    tmp_path: Path, host: Host, first: Published
) -> None:
    second = next_version(first, tmp_path / "second")
    import_bundle(host.parts(), first.folder)
    import_bundle(host.parts(), second.folder)
    with host.database.begin() as connection:
        connection.execute(text("DELETE FROM trust_file"))
    initialise_trust(
        Home(host.home), first.root, fingerprint=first.fingerprint, clock=Clock()
    )
    with pytest.raises(RollbackError):
        import_bundle(host.parts(), first.folder)
    assert import_bundle(host.parts(), second.folder).already_active


def test_a_trust_state_in_order_is_not_replaced(host: Host, first: Published) -> None:
    import_bundle(host.parts(), first.folder)
    with pytest.raises(ConflictError):
        initialise_trust(
            Home(host.home), first.root, fingerprint=first.fingerprint, clock=Clock()
        )


def test_a_host_does_not_begin_anew_with_a_root_older_than_it_accepted(
    tmp_path: Path, host: Host, first: Published
) -> None:
    renewed = next_root(first.root, signers=first.keys.root)
    second = next_version(first, tmp_path / "second", roots=(first.root, renewed))
    put_back(host, first, second)
    for wiped in (False, True):
        if wiped:
            with host.database.begin() as connection:
                connection.execute(text("DELETE FROM trust_file"))
        before = host.rows()
        with pytest.raises(RollbackError) as caught:
            initialise_trust(
                Home(host.home),
                first.root,
                fingerprint=first.fingerprint,
                clock=Clock(),
            )
        assert (caught.value.where, caught.value.actual) == ("root", "1")
        assert host.rows() == before
    initialise_trust(
        Home(host.home), renewed, fingerprint=fingerprint(renewed), clock=Clock()
    )
    assert import_bundle(host.parts(), second.folder).already_active
