"""Server-sent events as OpenAI clients read them; bytes only.

Source: WHATWG HTML, "Server-sent events"; OpenAI API reference, "Streaming".
"""

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
"""The line that ends a stream; sent only after ``llm.response`` is durable."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def event(value: dict[str, Any]) -> bytes:
    """Return one event whose data is ``value`` as compact JSON on one line."""
    return b"data: " + compact(value) + b"\n\n"


def compact(value: dict[str, Any] | str) -> bytes:
    """Return ``value`` as JSON on one line, without spaces."""
    return _ENCODER.encode(value).encode("utf-8")
