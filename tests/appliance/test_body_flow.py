"""Stored bodies beside the ledger: what a crash between the two leaves is removed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.bodies.vault import Body
from appliance.body_flow import open_vault, sweep_bodies
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.errors import HostNotReadyError
from appliance.home import Home
from appliance.host import OpenHost
from bundleformat.trust import fingerprint
from tests.support.ledgers import request
from tests.support.publisher import make_root, new_keys

BODY = Body(
    team="claims", request_id="r-1", part="request", salt=bytes(32), data=b"asked"
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OpenHost]:
    home, clock = Home(tmp_path / "home"), SystemClock()
    root = make_root(new_keys())
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=clock)
    opened = open_host(home.root)
    yield opened
    opened.database.dispose()


def test_a_host_that_lost_the_key_of_its_bodies_does_not_start(host: OpenHost) -> None:
    open_vault(host).close()
    host.home.bodies_key.unlink()
    with pytest.raises(HostNotReadyError):
        sweep_bodies(host)


def test_a_host_without_bodies_makes_no_file_for_them(host: OpenHost) -> None:
    assert sweep_bodies(host) == 0
    assert not host.home.bodies.exists()
    assert not host.home.bodies_key.exists()


def test_a_body_whose_record_never_came_is_removed_and_its_neighbours_stay(
    host: OpenHost,
) -> None:
    answer = replace(BODY, part="response", data=b"answered")
    lost = replace(BODY, request_id="r-2")
    vault = open_vault(host)
    vault.put([BODY, answer, lost], now=host.clock.now())
    with host.change() as connection:
        host.record(connection, [request("r-1")], now=host.clock.now())
    assert sweep_bodies(host) == 2
    assert vault.get("r-1", "request") == BODY
    assert vault.get("r-1", "response") is None
    assert vault.get("r-2", "request") is None
    vault.close()
