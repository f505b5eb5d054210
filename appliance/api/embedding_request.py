"""OpenAI's request shape for embeddings, and nothing it does not say.

Source: OpenAI API reference, "Create embeddings".
"""

from array import array
from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.api.request_json import Strict, implemented, json_object, validated
from appliance.engine.embedding import Inputs
from appliance.errors import RequestRefusedError
from appliance.request_steps.model_requests import EmbeddingRequest
from appliance.settings import ServerSettings

IGNORED = frozenset({"user"})
"""Known fields that cannot change an answer; accepted whatever they hold."""

MAX_TOKEN = 2**31 - 1
"""Largest number that a token can have; the vocabulary decides."""


class EmbeddingsRequest(Strict):
    """The implemented fields of ``POST /v1/embeddings``."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Any
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None = None


def parse_embedding_request(body: bytes, *, limits: ServerSettings) -> EmbeddingRequest:
    """Return the request in ``body``.

    Raises:
        UnsupportedParameterError: A field asks for what is not implemented.
        RequestRefusedError: Not JSON, or outside the schema or the limits.
    """
    fields = implemented(
        json_object(body), schema=EmbeddingsRequest, neutral={}, ignored=IGNORED
    )
    parsed = validated(EmbeddingsRequest, fields)
    inputs = _inputs(parsed.input)
    if inputs.count > limits.inputs:
        raise RequestRefusedError(
            f"too many inputs: {inputs.count}, at most {limits.inputs}", param="input"
        )
    return EmbeddingRequest(
        model=parsed.model,
        inputs=inputs,
        dimensions=parsed.dimensions,
        as_base64=parsed.encoding_format == "base64",
    )


def _inputs(value: Any) -> Inputs:  # noqa: ANN401  # whatever JSON can hold
    """Return what is to be embedded: a text, texts, tokens, or lists of tokens."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise _refusal("must be a text, texts, tokens or lists of tokens")
    if all(isinstance(each, str) for each in value):
        if "" in value:
            raise _refusal("an empty text cannot be embedded")
        return Inputs(texts=tuple(value))
    if not any(isinstance(each, list) for each in value):
        value = [value]
    return Inputs(tokens=tuple(_tokens(each) for each in value))


def _tokens(value: Any) -> bytes:  # noqa: ANN401  # whatever JSON can hold
    if not isinstance(value, list) or not value:
        raise _refusal("must be a text, texts, tokens or lists of tokens")
    if not all(type(each) is int and 0 <= each <= MAX_TOKEN for each in value):
        raise _refusal("a token is a whole number from 0")
    return array("i", value).tobytes()


def _refusal(problem: str) -> RequestRefusedError:
    return RequestRefusedError(f"input: {problem}", param="input")
