"""The bytes of a request and of its answer that a record commits to.

Of a request they are the canonical JSON of what was asked, of an answer its text in
UTF-8. Vectors are no text: nothing is captured of them.
Source: RFC 8785, section 3.2.
"""

import json
from array import array
from collections.abc import Mapping

from appliance.bodies.capture import Captures
from appliance.bodies.commitment import Commitment
from appliance.bodies.vault import Body
from appliance.ledger.records.fields import JSON
from appliance.request_steps.model_requests import EmbeddingRequest, ModelRequest


class Captured:
    """The two bodies of one accepted request, as far as they are captured.

    Args:
        captures: What is captured.
        request: What was asked.
        salts: One for the request and one for the answer, both random.
    """

    def __init__(
        self, captures: Captures, *, request: ModelRequest, salts: tuple[bytes, bytes]
    ) -> None:
        self._captures = captures
        self._request: Commitment | None = None
        self._response: Commitment | None = None
        self._asked = b""
        self._answer: list[bytes] = []
        self._lost = False
        if captures.level == "metadata":
            return
        asked = request_bytes(request)
        self._request = Commitment(salts[0])
        self._request.add(asked)
        if not isinstance(request, EmbeddingRequest):
            self._response = Commitment(salts[1])
        if captures.level == "full":
            self._asked = asked

    def answered(self, text: str) -> None:
        """Append ``text`` to the answer."""
        if self._response is not None:
            data = text.encode("utf-8")
            self._response.add(data)
            if self._captures.level == "full":
                self._answer.append(data)

    def request_body(self, *, team: str, request_id: str) -> Body | None:
        """Return the request's body, if it is to be kept, and forget it here."""
        if self._request is None or self._captures.level != "full":
            return None
        asked, self._asked = self._asked, b""
        return Body(
            team=team,
            request_id=request_id,
            part="request",
            salt=self._request.salt,
            data=asked,
        )

    def response_body(self, *, team: str, request_id: str) -> Body | None:
        """Return the answer's body as far as it went, if it is to be kept."""
        if self._response is None or self._captures.level != "full":
            return None
        return Body(
            team=team,
            request_id=request_id,
            part="response",
            salt=self._response.salt,
            data=b"".join(self._answer),
        )

    def lose_response(self) -> None:
        """Commit to no answer: it could not be kept, and the record says so."""
        self._lost = True

    def request_field(self) -> JSON:
        """Return what ``llm.request`` says of the request's body."""
        return self._field(self._request)

    def response_field(self) -> JSON:
        """Return what ``llm.response`` says of the answer's body, as far as it went."""
        if self._lost:
            return {"capture": self._captures.level}
        return self._field(self._response)

    def headers(self) -> Mapping[str, str]:
        """Return what every answer tells of it.

        The host keeps no salt of a digest: the caller, who has both bodies, is the
        one who can show later that they are what was recorded. A salt that lies with
        a stored body is told to nobody, or erasing the body would not be enough.
        """
        told: dict[str, str] = {"x-capture": self._captures.level}
        if self._captures.level == "full":
            return told
        if self._request is not None:
            told["x-request-salt"] = self._request.salt.hex()
        if self._response is not None:
            told["x-response-salt"] = self._response.salt.hex()
        return told

    def _field(self, commitment: Commitment | None) -> JSON:
        if commitment is None:
            return self._level() if self._captures.lowered_from else None
        return {
            **self._level(),
            "commitment": commitment.hexdigest(),
            "size_bytes": commitment.size_bytes,
        }

    def _level(self) -> dict[str, JSON]:
        return {
            "capture": self._captures.level,
            "lowered_from": self._captures.lowered_from,
            "model_allows": self._captures.model_allows,
        }


def request_bytes(request: ModelRequest) -> bytes:
    """Return the canonical JSON of what was asked.

    The messages of a chat, each with its role and content; the inputs of a request
    for embeddings, each a text or a list of tokens.
    """
    if isinstance(request, EmbeddingRequest):
        tokens = [array("i", each).tolist() for each in request.inputs.tokens]
        return _canonical({"input": [*request.inputs.texts, *tokens]})
    messages = [
        {"content": message.content, "role": message.role}
        for message in request.messages
    ]
    return _canonical({"messages": messages})


def _canonical(value: object) -> bytes:
    """Return RFC 8785 of a value without other numbers than integers.

    The standard library spells texts and integers as the RFC wants them, a hundred
    times as fast as the library for it; a test holds the two against each other.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8")
