"""The other end of a client's socket, played by the test."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from appliance.engine import protocol as wire
from appliance.engine.client import EngineClient
from appliance.engine.endings import Endings
from appliance.engine.line import AT_ONCE_BYTES
from appliance.engine.planning.memory import HOST, DeviceMemory, Loaded, Memory
from appliance.engine.port import Message, Sampling, Ticket
from appliance.engine.scheduling.admission import Limits

LOADED = Loaded(
    memory=Memory(host=DeviceMemory(device=HOST)), resident_bytes=1, anonymous_bytes=1
)
LOAD = wire.Load(
    model_paths=("model.gguf",),
    limits=Limits(
        context_tokens=10**6,
        cells=10**6,
        sequences=2,
        batch_tokens=32,
        queued_requests=3,
        queue_timeout_s=60,
        default_max_tokens=8,
    ),
    threads=1,
    step_s=0.1,
)
LONG = "hello " * AT_ONCE_BYTES
"""A prompt that is on its way alone."""

PLACES = LOAD.limits.places
READY = wire.Ready(
    context_tokens=10**6,
    cells=10**6,
    sequences=LOAD.limits.sequences,
    batch_tokens=32,
    longest_token_bytes=8,
    loaded=LOADED,
)


class Peer:
    """The engine process's end of the connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    async def next(self) -> wire.Order:
        length = await self._reader.readexactly(wire.LENGTH_BYTES)
        payload = await self._reader.readexactly(int.from_bytes(length, "big"))
        return wire.decode_order(payload)

    async def silent(self) -> bool:
        """Whether nothing more was sent."""
        try:
            async with asyncio.timeout(0.05):
                await self.next()
        except TimeoutError:
            return True
        return False

    def say(self, *reports: wire.Report) -> None:
        for report in reports:
            self._writer.write(wire.encode(report))

    def close(self) -> None:
        self._writer.close()


class Pair:
    """A client and its peer, ready to serve."""

    def __init__(self, client: EngineClient, peer: Peer) -> None:
        self.client = client
        self.peer = peer

    def ask(self, name: str, text: str = LONG) -> "asyncio.Task[Ticket]":
        return asyncio.create_task(
            self.client.prepare(
                wire.Prepare(
                    request_id=name,
                    tenant="red",
                    messages=(Message(role="user", content=text),),
                    sampling=Sampling(max_tokens=7),
                )
            )
        )

    async def asked(self) -> str:
        order = await self.peer.next()
        assert isinstance(order, wire.Prepare)
        return order.request_id


def prepared(name: str) -> wire.Prepared:
    return wire.Prepared(request_id=name, prompt_tokens=3, max_new_tokens=7)


@contextlib.asynccontextmanager
async def connected(
    *,
    ready: wire.Ready = READY,
    endings: Endings | None = None,
    reply_timeout_s: float = 20,
) -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    client = EngineClient(
        *await asyncio.open_unix_connection(sock=ours),
        endings=endings or Endings(),
        reply_timeout_s=reply_timeout_s,
    )
    peer = Peer(*await asyncio.open_unix_connection(sock=theirs))
    peer.say(ready)
    await client.load(LOAD)
    assert await peer.next() == LOAD
    running = asyncio.create_task(client.run())
    try:
        yield Pair(client, peer)
    finally:
        peer.close()
        await running
        await client.closed()


def with_pair(
    test: Callable[[Pair], Awaitable[None]],
    *,
    ready: wire.Ready = READY,
    reply_timeout_s: float = 20,
) -> None:
    async def run() -> None:
        async with connected(ready=ready, reply_timeout_s=reply_timeout_s) as pair:
            await asyncio.wait_for(test(pair), 10)

    asyncio.run(run())
