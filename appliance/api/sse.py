"""Server-sent events as OpenAI clients read them; bytes only.

Source: WHATWG HTML, "Server-sent events"; OpenAI API reference, "Streaming".
"""

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
"""The line that ends a stream; sent only after ``llm.response`` is durable."""


def event(value: dict[str, Any]) -> bytes:
    """Return one event whose data is ``value`` as compact JSON on one line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode("utf-8") + b"\n\n"
