"""``POST /v1/embeddings``: a vector for each text.

All vectors are there, and recorded, before the first byte is written: an engine
that fails is an HTTP status. They are spelled out little by little, because a
million numbers at once would hold up every other answer.
"""

import base64
import json
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from itertools import islice

from appliance.api.embedding_request import parse_embedding_request
from appliance.api.exchange import Exchange
from appliance.engine.port import Usage
from appliance.request_steps.model_requests import EmbeddingRequest
from appliance.request_steps.parts import Admitted
from bundleformat.errors import Error

WRITTEN_AT_ONCE = 2**14
"""Numbers spelled out between two looks at other requests; a vector at least."""

_FLOAT_BYTES = 4


class EmbeddingExchange(Exchange[EmbeddingRequest]):
    """One request for embeddings and its answer."""

    def parse(self, body: bytes) -> EmbeddingRequest:
        """Return what ``body`` asks for."""
        return parse_embedding_request(body, limits=self._settings.server)

    async def write(self, admitted: Admitted[EmbeddingRequest]) -> None:
        """Have the vectors made, and write them."""
        vectors: list[bytes] = []
        usage: Usage | None = None
        try:
            async with aclosing(self._flow.embed(admitted)) as parts:
                async for part in parts:
                    vectors += part.vectors
                    usage = part.usage
        except Error as error:
            await self.refuse(error)
            return
        headers = self.headers(admitted) | {"content-type": "application/json"}
        await self.start(headers)
        tail = _tail(admitted.model.facts.name, usage)
        for piece in _pieces(vectors, as_base64=admitted.request.as_base64):
            await self.send(piece)
        await self.send(tail)
        await self.end()


def _pieces(vectors: Sequence[bytes], *, as_base64: bool) -> Iterator[bytes]:
    """Yield the answer up to the last vector, some vectors at a time."""
    at_once = max(1, WRITTEN_AT_ONCE // max(1, len(vectors[0]) // _FLOAT_BYTES))
    items = (
        _item(index, vector, as_base64=as_base64)
        for index, vector in enumerate(vectors)
    )
    before = '{"object":"list","data":['
    while some := ",".join(islice(items, at_once)):
        yield (before + some).encode("ascii")
        before = ","


def _item(index: int, vector: bytes, *, as_base64: bool) -> str:
    """Return one element of ``data`` as JSON."""
    value = f'"{base64.b64encode(vector).decode()}"' if as_base64 else _numbers(vector)
    return f'{{"object":"embedding","index":{index},"embedding":{value}}}'


def _numbers(vector: bytes) -> str:
    """Return the numbers of a vector as JSON; reading them gives the same bits."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return json.dumps(numbers.tolist(), allow_nan=False, separators=(",", ":"))


def _tail(model: str, usage: Usage | None) -> bytes:
    """Return what follows the last vector."""
    tokens = 0 if usage is None else usage.prompt_tokens
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return f'],"model":{json.dumps(model)},"usage":{json.dumps(counts)}}}'.encode()
