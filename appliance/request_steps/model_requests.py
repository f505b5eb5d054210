"""What a team may ask of a model, as the API parsed it; every value is in its range."""

from dataclasses import dataclass
from typing import TypeVar

from appliance.engine.embedding import Inputs
from appliance.engine.port import Message, Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """The next turn of a conversation.

    ``service_tier`` and ``priority`` are what the caller asks for, which its team
    may not be allowed.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    stream: bool
    service_tier: str | None = None
    priority: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRequest:
    """A vector for each text.

    Attributes:
        dimensions: How long the vectors are expected to be, or None.
        as_base64: Whether vectors are answered as bytes, or as numbers.
    """

    model: str
    inputs: Inputs
    dimensions: int | None
    as_base64: bool


ModelRequest = ChatRequest | EmbeddingRequest
"""Whatever a model is asked."""

Asked = TypeVar("Asked", bound=ModelRequest)
"""What one call asks for."""
