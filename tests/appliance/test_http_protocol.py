"""What one connection may hold, with a real server on a socket of the file system."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from appliance.http_server import StoppableServer
from appliance.settings import ServerSettings

SETTINGS = ServerSettings(write_s=1, header_s=1, drain_s=1)
REQUEST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
CLOSING = REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close")
LARGE = b"x" * 2**20

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def letting_all_in(_scope: Scope) -> Response | None:
    return None


@asynccontextmanager
async def server(
    folder: Path,
    app: App,
    *,
    doorman: Callable[[Scope], Response | None] = letting_all_in,
) -> AsyncIterator[tuple[StoppableServer, str]]:
    """A running server and where it listens."""

    async def nothing_to_end() -> None:
        return

    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        listener.bind(path)
        listener.listen(2_048)
        made = StoppableServer(
            app,
            doorman=doorman,
            settings=SETTINGS,
            on_stop=lambda: None,
            end_streams=nothing_to_end,
        )
        running = asyncio.create_task(made.serve_on(listener))
        while not made.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            yield made, path
        finally:
            made.stop()
            made.stop()
            await running


def connections(made: StoppableServer) -> int:
    return len(made.server_state.connections)


async def until_none(made: StoppableServer) -> float:
    """Seconds until no connection is open."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(10):
        while connections(made):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return loop.time() - began


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(LARGE)(scope, receive, send)


@pytest.mark.parametrize("request_bytes", [REQUEST, CLOSING], ids=["open", "closing"])
def test_an_answer_that_is_left_unread_does_not_keep_its_connection(
    tmp_path: Path, request_bytes: bytes
) -> None:
    async def play() -> None:
        async with server(tmp_path, whole) as (made, path):
            reader, writer = await asyncio.open_unix_connection(path, limit=1_024)
            writer.write(request_bytes)
            assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
            assert 0.5 < await until_none(made) < 5
            writer.close()

    asyncio.run(play())


def test_a_reader_that_keeps_reading_gets_all_of_it(tmp_path: Path) -> None:
    async def play() -> None:
        async with server(tmp_path, whole) as (_, path):
            reader, writer = await asyncio.open_unix_connection(path, limit=4_096)
            writer.write(CLOSING)
            size = 0
            while data := await reader.read(2**16):
                size += len(data)
                # In all it takes longer than a client may leave anything unread.
                await asyncio.sleep(0.01)
            assert size > len(LARGE)
            writer.close()

    asyncio.run(play())


def test_whoever_streams_to_a_reader_that_stalls_is_told_that_it_is_gone(
    tmp_path: Path,
) -> None:
    ended: list[str] = []

    async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            body = {"type": "http.response.body", "body": b"x" * 9_999}
            await send({**body, "more_body": True})
            await asyncio.sleep(0)
        ended.append(gone.result()["type"])

    async def play() -> None:
        async with server(tmp_path, stream) as (made, path):
            reader, writer = await asyncio.open_unix_connection(path, limit=1_024)
            writer.write(REQUEST)
            await reader.readexactly(15)
            await until_none(made)
            await asyncio.sleep(0.05)
            writer.close()

    asyncio.run(play())
    assert ended == ["http.disconnect"]


def test_a_crowd_is_begun_one_by_one_and_turned_away_at_once(tmp_path: Path) -> None:
    """Between two requests that are begun, the loop looks after everybody else."""
    turns: list[int] = []
    turn = 0

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        turns.append(turn)
        await PlainTextResponse(b"begun")(scope, receive, send)

    def doorman(scope: Scope) -> Response | None:
        refused = (b"x-refuse", b"1") in scope["headers"]
        return PlainTextResponse(b"refused", 503) if refused else None

    async def ask(path: str, *, refuse: bool) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        extra = b"Host: x\r\nX-Refuse: 1" if refuse else b"Host: x"
        writer.write(CLOSING.replace(b"Host: x", extra))
        answer = await reader.read()
        writer.close()
        return answer

    async def play() -> list[bytes]:
        async with server(tmp_path, note, doorman=doorman) as (_, path):
            counting = asyncio.create_task(count_turns())
            asked = (ask(path, refuse=number % 2 == 0) for number in range(40))
            answers = await asyncio.gather(*asked)
            counting.cancel()
            return answers

    answers = asyncio.run(play())
    assert [b"503" in each.splitlines()[0] for each in answers] == [True, False] * 20
    assert all(each.endswith(b"refused") for each in answers[::2])
    assert len(turns) == 20
    assert len(set(turns)) == 20


def test_what_follows_an_answer_from_the_door_is_served_on_the_same_connection(
    tmp_path: Path,
) -> None:
    def doorman(scope: Scope) -> Response | None:
        return PlainTextResponse(b"no", 503) if scope["path"] == "/x" else None

    async def play() -> bytes:
        async with server(tmp_path, whole, doorman=doorman) as (_, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(REQUEST + REQUEST + CLOSING.replace(b"/x", b"/y"))
            answer = await reader.read()
            writer.close()
            return answer

    answer = asyncio.run(play())
    assert answer.count(b"HTTP/1.1 503") == 2
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(LARGE)
