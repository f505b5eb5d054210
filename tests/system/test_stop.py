"""Stopping a server: every stream ends, every outcome is recorded, nothing hangs."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest

from tests.support.gguf_writer import TinyModel, write_model
from tests.support.real_host import RealHost, commission, serving
from tests.system.test_api import messages

SETTINGS = """\
[server]
drain_s = 1
header_s = 2

[engine]
threads = 1
context_tokens = 8192
cells = 8192
"""
LONG = 8_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealHost:
    """A host whose model needs minutes for the longest answer it may give."""
    folder = tmp_path_factory.mktemp("stop")
    model = TinyModel(
        layers=8,
        embedding=512,
        heads=8,
        feed_forward=2048,
        context=8192,
        weights="q8_0",
        seed=2,
    )
    path = write_model(folder / "endless.gguf", model)
    return commission(folder, models=[("endless", path)], settings=SETTINGS)


@pytest.fixture
def host(made: RealHost) -> Iterator[RealHost]:
    with serving(made):
        yield made


def stopped_cleanly(host: RealHost, request_id: str) -> str:
    """Check what must hold after any stop; return the request's outcome."""
    records = host.records()
    assert records[-1]["event"] == "server.stopped"
    assert "Traceback" not in host.log.read_text()
    outcomes = [
        record["outcome"]
        for record in records
        if record["event"] in {"llm.response", "llm.aborted"}
        and record["request_id"] == request_id
    ]
    assert len(outcomes) == 1
    return str(outcomes[0])


@pytest.mark.parametrize("signals", [1, 2])
def test_a_running_stream_ends_with_a_clean_error(host: RealHost, signals: int) -> None:
    with host.client() as client:
        stream = iter(
            client.chat.completions.create(
                model="endless",
                messages=messages("go on"),
                temperature=0,
                max_tokens=LONG,
                stream=True,
            )
        )
        first = next(stream)
        assert host.process is not None
        process = host.process
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
    assert caught.value.code == "engine_unavailable"
    assert process.wait(20) == 0
    assert stopped_cleanly(host, first.id) == "error"


def test_a_client_that_reads_nothing_cannot_hold_the_server(host: RealHost) -> None:
    place = urlsplit(host.url)
    body = json.dumps(
        {
            "model": "endless",
            "messages": messages("go on"),
            "max_tokens": LONG,
            "stream": True,
        }
    )
    before = {record["request_id"] for record in host.records("llm.request")}
    with socket.create_connection((str(place.hostname), place.port or 0)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        stuck.sendall(
            (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
                f"authorization: Bearer {host.key}\r\n"
                f"content-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )
        asked: set[str] = set()
        while not asked:
            time.sleep(0.05)
            asked = {r["request_id"] for r in host.records("llm.request")} - before
        time.sleep(1)
        assert host.process is not None
        process = host.process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    stopped_cleanly(host, asked.pop())


def test_a_request_head_that_does_not_come_is_given_up(host: RealHost) -> None:
    place = urlsplit(host.url)
    with socket.create_connection((str(place.hostname), place.port or 0)) as half:
        half.sendall(b"GET /v1/models HT")
        half.settimeout(10)
        assert half.recv(1) == b""


def test_a_request_head_without_end_is_cut_off(host: RealHost) -> None:
    place = urlsplit(host.url)
    sent = 0
    with socket.create_connection((str(place.hostname), place.port or 0)) as endless:
        endless.settimeout(10)
        try:
            endless.sendall(b"GET /v1/models HTTP/1.1\r\n")
            while sent < 2**24:
                sent += endless.send(b"x-filler: " + b"y" * 8_000 + b"\r\n")
        except OSError:
            pass
    assert sent < 2**24
