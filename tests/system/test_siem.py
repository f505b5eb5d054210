"""A collector on the host gets what a real server and a real command line record."""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_host import RealHost, commission, serving
from tests.system.test_api import messages

WAIT_S = 30.0


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A datagram socket in a private folder whose path is short enough for one."""
    folder = Path("/tmp") / f"sallyport-{os.getpid()}-{tmp_path.name[-8:]}"  # noqa: S108 - made private below
    folder.mkdir(mode=0o700)
    path = folder / "siem"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(WAIT_S)
        yield path, listener
    path.unlink()
    folder.rmdir()


def _host(tmp_path: Path, model: Path, place: Path) -> RealHost:
    return commission(
        tmp_path,
        models=[("demo", model)],
        settings=f'[engine]\nthreads = 1\n\n[siem]\nsocket = "{place}"\n',
    )


def _taken(listener: socket.socket, *, until: str) -> list[str]:
    """The events that arrive, up to one of this name."""
    names: list[str] = []
    while until not in names:
        message = listener.recv(1_000_000).partition(b" {")[2]
        event = json.loads(b"{" + message)
        assert event["metadata"]["version"] == "1.8.0"
        names.append(event["metadata"]["event_code"])
    return names


def test_a_collector_gets_every_record_once_it_is_durable(
    tmp_path: Path, demo_model: Path, collector: tuple[Path, socket.socket]
) -> None:
    place, listener = collector
    host = _host(tmp_path, demo_model, place)
    with serving(host):
        with host.client() as client:
            client.chat.completions.create(
                model="demo", messages=messages(), max_tokens=2
            )
        assert host.run("team", "set", "claims", "--running", "3").returncode == 0
        got = _taken(listener, until="team.changed")
        assert host.stop() == 0
    got += _taken(listener, until="server.stopped")
    assert got[0] == "server.started"
    assert got == [record["event"] for record in host.records()[-len(got) :]]


def _ready(host: RealHost) -> dict[str, Any]:
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request("GET", "/health/ready")
    value: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return value


def test_a_server_serves_and_says_so_while_no_collector_listens(
    tmp_path: Path, demo_model: Path
) -> None:
    host = _host(tmp_path, demo_model, tmp_path / "nobody")
    with serving(host):
        with host.client() as client:
            client.chat.completions.create(
                model="demo", messages=messages(), max_tokens=2
            )
        deadline = time.monotonic() + WAIT_S
        said = _ready(host)
        while "siem" not in said.get("impaired", ()):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
            said = _ready(host)
        assert said["status"] == "ready"
        assert host.stop() == 0
    assert host.records()[-1]["event"] == "server.stopped"
