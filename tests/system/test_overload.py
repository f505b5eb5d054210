"""More requests than a host can hold, and clients that do not read."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.flood import END_OF_HEAD, flood
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.real_host import RealHost, commission, serving

SETTINGS = """\
[server]
write_s = 1
drain_s = 1

[engine]
threads = 1
context_tokens = 8192
cells = 16384
sequences = 4
spare_sequences = 1
queued_requests = 12
"""
ALONE = 14
"""Places that one team gets of the sixteen there are."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    """A host whose only model answers without end, some hundred tokens a second."""
    folder = tmp_path_factory.mktemp("overload")
    path = write_model(folder / "endless.gguf", TinyModel(context=8_192, seed=2))
    made = commission(folder, models=[("endless", path)], settings=SETTINGS)
    with serving(made):
        yield made


def request(key: str, *, close: bool = True, padding: int = 0, **fields: Any) -> bytes:
    """The bytes of one request, which this model answers up to its last token."""
    asked = {
        "model": "endless",
        "messages": [{"role": "user", "content": "go on"}],
        "temperature": 0,
        **fields,
    }
    body = json.dumps(asked).encode() + b" " * padding
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    return head.encode() + (b"Connection: close\r\n" if close else b"") + b"\r\n" + body


def connect(host: RealHost, *, receive_bytes: int = 0) -> socket.socket:
    at = urlsplit(host.url)
    opened = socket.socket()
    if receive_bytes:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    opened.settimeout(20)
    opened.connect((str(at.hostname), at.port or 0))
    return opened


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """One answer with a length, and nothing that follows it."""
    data = b""
    while END_OF_HEAD not in data:
        data += connection.recv(1)
    head = data.lower()
    size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return int(head.split(None, 2)[1]), body


def code_of(body: bytes | bytearray) -> str:
    code: str = json.loads(body)["error"]["code"]
    return code


def wait_for(host: RealHost, event: str, count: int, *, team: str) -> list[Any]:
    """Records of a team, once there are as many."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [r for r in host.records(event) if r.get("team") == team]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {count} records {event} of {team}")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def filled(host: RealHost) -> Iterator[str]:
    """A key of a team that holds every place it can get, while the test runs."""
    key = host.team("filling")
    before = len(host.records("llm.request"))
    held = [connect(host) for _ in range(ALONE)]
    for each in held:
        each.sendall(request(key, max_tokens=4_000))
    wait_until(lambda: len(host.records("llm.request")) == before + ALONE)
    yield key
    for each in held:
        each.close()
    # The next test finds every place free.
    wait_until(
        lambda: len(host.records("llm.request")) == len(host.records("llm.response"))
    )


def test_a_crowd_is_answered_or_refused_and_every_one_of_it_is_on_record(
    host: RealHost,
) -> None:
    crowd, light = host.team("crowd"), host.team("light")
    with ThreadPoolExecutor(1) as pool:
        streaming = pool.submit(
            flood,
            host.url,
            [request(light, max_tokens=100, stream=True)],
            limit_s=60,
        )
        found = flood(
            host.url,
            [request(crowd, max_tokens=8, stream=True)] * 150,
            limit_s=60,
        )
        (stream,) = streaming.result()
    assert stream.status == 200
    assert stream.body.rstrip(b"\r\n0").endswith(b"data: [DONE]")
    answered = [each for each in found if each.status == 200]
    refused = [each for each in found if each.status == 503]
    assert len(answered) + len(refused) == 150
    assert len(answered) >= ALONE - 1
    assert all(b"data: [DONE]" in each.body for each in answered)
    assert {code_of(each.body) for each in refused} == {"server_overloaded"}
    assert all(b"retry-after: " in each.head for each in refused)
    records = wait_for(host, "llm.refused", len(refused), team="crowd")
    assert len(records) == len(refused)
    assert {r["code"] for r in records} == {"server-overloaded"}
    ids = {
        each.head.split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
        for each in refused
    }
    assert ids == {r["request_id"] for r in records}


def test_a_connection_that_was_turned_away_can_be_used_again(
    host: RealHost, filled: str
) -> None:
    other = host.team("patient")
    with connect(host) as connection:
        # Its body is still on its way when the answer is there.
        for padding in (0, 300_000, 0):
            connection.sendall(request(filled, close=False, padding=padding))
            status, body = read_answer(connection)
            assert (status, code_of(body)) == (503, "server_overloaded")
        connection.sendall(request(other, close=False, max_tokens=2))
        status, _ = read_answer(connection)
        assert status == 200


def test_requests_that_are_sent_ahead_are_turned_away_in_their_order(
    host: RealHost, filled: str
) -> None:
    health = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    ahead = 200
    with connect(host) as connection:
        connection.sendall(
            (request(filled, close=False) + health + request("wrong", close=False))
            * ahead
        )
        for _ in range(ahead):
            found = [read_answer(connection) for _ in range(3)]
            assert [status for status, _ in found] == [503, 200, 401]
            assert code_of(found[0][1]) == "server_overloaded"


def test_a_reader_that_stalls_is_cut_off_and_what_it_held_is_free(
    host: RealHost,
) -> None:
    key = host.team("stalling")
    with connect(host, receive_bytes=2_048) as stalled:
        stalled.sendall(
            request(
                key,
                stream=True,
                max_tokens=8_000,
                stream_options={"include_usage": True},
            )
        )
        assert stalled.recv(64).startswith(b"HTTP/1.1 200")
        (record,) = wait_for(host, "llm.response", 1, team="stalling")
        assert (record["outcome"], record["status"]) == ("cancelled", 499)
        assert 0 < record["completion_tokens"] < 8_000
    # All cells of one request are to be had again.
    with connect(host) as next_one:
        next_one.sendall(request(key, max_tokens=8_000, stop="never"))
        wait_for(host, "llm.request", 2, team="stalling")
