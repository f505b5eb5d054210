"""OpenAI's response shapes for chat completions, as plain dictionaries.

Source: OpenAI API reference, "The chat completion object" and "The chat
completion chunk object".
"""

from dataclasses import dataclass
from typing import Any

from appliance.api.sse import compact, event
from appliance.engine.port import FinishReason, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """What every object of one answer repeats.

    ``created_s`` is in seconds since 1970. ``fingerprint`` names the model's
    bytes: the same fingerprint, seed and request give the same answer.
    ``service_tier`` is said to who asked for one.
    """

    request_id: str
    created_s: int
    model: str
    fingerprint: str
    service_tier: str | None = None

    def fields(self, kind: str) -> dict[str, Any]:
        """Return the shared fields of an object of ``kind``."""
        return {
            "id": self.request_id,
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            **({"service_tier": self.service_tier} if self.service_tier else {}),
        }


def completion(
    heading: Heading,
    *,
    text: str,
    finish_reason: FinishReason | None,
    usage: Usage | None,
) -> dict[str, Any]:
    """Return a whole answer."""
    return {
        **heading.fields("chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": None if usage is None else usage_object(usage),
    }


def chunk(
    heading: Heading,
    *,
    delta: dict[str, Any],
    finish_reason: FinishReason | None = None,
    with_usage: bool,
) -> dict[str, Any]:
    """Return one chunk of a stream; its usage is null where the last one has it."""
    value = {
        **heading.fields("chat.completion.chunk"),
        "choices": [
            {
                "index": 0,
                "delta": delta,
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
    }
    return {**value, "usage": None} if with_usage else value


class TextEvents:
    """The events of one answer's texts; what they repeat is encoded once.

    Each is, to the byte, ``event(chunk(heading, delta={"content": text}, ...))``.
    """

    def __init__(self, heading: Heading, *, with_usage: bool) -> None:
        empty = event(chunk(heading, delta={"content": ""}, with_usage=with_usage))
        # A quote inside a value is escaped, so these bytes are the field alone.
        self._head, _, self._tail = empty.partition(b'"content":""')

    def event(self, text: str) -> bytes:
        """Return the event that adds ``text`` to the answer."""
        return b'%b"content":%b%b' % (self._head, compact(text), self._tail)


def usage_chunk(heading: Heading, usage: Usage) -> dict[str, Any]:
    """Return the chunk that ends a stream whose caller asked for the usage."""
    return {
        **heading.fields("chat.completion.chunk"),
        "choices": [],
        "usage": usage_object(usage),
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return token counts in OpenAI's shape."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
