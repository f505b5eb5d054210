"""A client that calls an ASGI application without any socket."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass
class Answer:
    """What the application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of each server-sent event, parsed; ``[DONE]`` as a string."""
        lines = [line for line in self.body.split(b"\n\n") if line]
        datas = [line.removeprefix(b"data: ") for line in lines]
        return ["[DONE]" if data == b"[DONE]" else json.loads(data) for data in datas]


class Exchange:
    """One request in flight; ``disconnect`` makes its client go away."""

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        hold_body: bool = False,
    ) -> None:
        self.answer = Answer()
        self.written = asyncio.Event()
        self._gone = asyncio.Event()
        self._body: list[bytes] | None = [body]
        self._may_send = asyncio.Event()
        if not hold_body:
            self._may_send.set()
        sent = {"content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def disconnect(self) -> None:
        self._gone.set()

    def send_body(self) -> None:
        self._may_send.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            await self._may_send.wait()
            body, self._body = self._body[0], None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {
                name.decode(): value.decode() for name, value in message["headers"]
            }
        elif message.get("body"):
            self.answer.parts.append(message["body"])
            self.written.set()


async def post(
    app: ASGIApp, path: str, body: Any, *, headers: dict[str, str] | None = None
) -> Answer:
    """Send ``body`` as JSON and return the whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = Exchange(app, path, headers=headers, body=data)
    await exchange.task
    return exchange.answer


async def get(
    app: ASGIApp, path: str, *, headers: dict[str, str] | None = None
) -> Answer:
    """Return the whole answer to a GET."""
    exchange = Exchange(app, path, method="GET", headers=headers)
    await exchange.task
    return exchange.answer
