"""A streaming client that notes when every piece of an answer came."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.engine.servers import Server

CONTENT = b'"content":"'
"""What an event has that carries text."""


OK = 200
"""HTTP status of an answer."""

FULL = b'"finish_reason":"length"'
"""What the last event of an answer has that was cut at its length."""


@dataclass(kw_only=True, slots=True)
class Answer:
    """One request as its caller saw it. Times are of ``time.perf_counter``.

    Attributes:
        status: HTTP status.
        asked_s: When the request was sent.
        answered_s: When the status line came.
        stamps: When each event with text came.
        tokens: Tokens of the answer, as the server counts them.
        prompt_tokens: Tokens of the prompt.
        cached: Those of them that were not computed.
        ended_s: When the answer was whole.
        full: Whether it ended because it had as many tokens as were asked for.
    """

    status: int = 0
    asked_s: float = 0.0
    answered_s: float = 0.0
    stamps: list[float] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    cached: int = 0
    ended_s: float = 0.0
    full: bool = False

    @property
    def first_s(self) -> float:
        """Seconds to the first text."""
        return self.stamps[0] - self.asked_s

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between pieces of text."""
        return [b - a for a, b in zip(self.stamps, self.stamps[1:], strict=False)]


async def ask(
    server: Server,
    prompt: str,
    *,
    tokens: int,
    system: str = "",
    key: str | None = None,
) -> Answer:
    """Stream one greedy chat completion of exactly ``tokens`` tokens."""
    message = chat_message(server, prompt, tokens=tokens, system=system, key=key)
    answer = Answer()
    at = urlsplit(server.url)
    answer.asked_s = time.perf_counter()
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(message)
        answer.status = await _read_status(reader)
        answer.answered_s = time.perf_counter()
        await _read_events(reader, answer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    answer.ended_s = time.perf_counter()
    if answer.full and not answer.tokens:
        # A server that tells no usage, but that the answer was cut at its length.
        answer.tokens = tokens
    return answer


def chat_message(
    server: Server,
    prompt: str,
    *,
    tokens: int,
    system: str = "",
    key: str | None = None,
) -> bytes:
    """Return the bytes of one request, which asks to close its connection."""
    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    payload = json.dumps(
        {
            "model": server.model,
            "messages": messages,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    return (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        f"Host: {urlsplit(server.url).netloc}\r\n"
        f"Authorization: Bearer {key or server.key}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + payload


async def _read_status(reader: asyncio.StreamReader) -> int:
    status = await reader.readline()
    while (await reader.readline()).strip():
        pass
    return int(status.split()[1])


async def _read_events(reader: asyncio.StreamReader, answer: Answer) -> None:
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            _note(line, answer)


def _note(line: bytes, answer: Answer) -> None:
    if CONTENT in line and CONTENT + b'"' not in line:
        answer.stamps.append(time.perf_counter())
    answer.full = answer.full or FULL in line.replace(b" ", b"")
    if b'"usage":{' in line:
        usage = json.loads(line.removeprefix(b"data: "))["usage"]
        answer.tokens = usage["completion_tokens"]
        answer.prompt_tokens = usage["prompt_tokens"]
        details = usage.get("prompt_tokens_details") or {}
        answer.cached = details.get("cached_tokens", 0)
