"""The least client that can stream a chat completion: it adds next to nothing.

One connection per completion, HTTP/1.1 with chunks, no JSON parsed but the usage.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

USAGE = b'"usage":{'
"""What only the event with the token counts contains."""

DONE = b"data: [DONE]"
"""What a whole stream ends with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatClient:
    """Where to ask, and with which key."""

    url: str
    key: str

    async def complete(self, request: dict[str, Any]) -> int:
        """Read a streamed completion to its end; return how many tokens it had.

        Raises:
            RuntimeError: It was refused, or its stream broke off.
        """
        at = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        try:
            writer.write(self._message(request, host=at.netloc))
            await _read_head(reader)
            return await _read_events(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    def _message(self, request: dict[str, Any], *, host: str) -> bytes:
        body = json.dumps(
            {**request, "stream": True, "stream_options": {"include_usage": True}}
        ).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: {host}\r\n"
            f"Authorization: Bearer {self.key}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + body


async def _read_head(reader: asyncio.StreamReader) -> None:
    status = await reader.readline()
    while (await reader.readline()).strip():
        pass
    if status.split()[1:2] != [b"200"]:
        raise RuntimeError(f"the server answered {status!r}")


async def _read_events(reader: asyncio.StreamReader) -> int:
    tokens, done = 0, False
    while size := int(await reader.readline(), 16):
        # A chunk ends with two bytes of its own.
        chunk = await reader.readexactly(size + 2)
        done = done or DONE in chunk
        if USAGE in chunk:
            tokens = _completion_tokens(chunk)
    if not done:
        raise RuntimeError("the stream ended before its end")
    return tokens


def _completion_tokens(chunk: bytes) -> int:
    for line in chunk.splitlines():
        if USAGE in line:
            event = json.loads(line.removeprefix(b"data: "))
            return int(event["usage"]["completion_tokens"])
    raise RuntimeError("an event was cut in two")
