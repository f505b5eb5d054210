"""OpenAI's request shape for chat completions, and nothing it does not say.

A field this server implements is checked against its range. A field it knows
but does not implement is accepted only with the value that changes nothing;
anything else is refused, because a limit or an option silently ignored is a
wrong answer. Source: OpenAI API reference, "Create chat completion".
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.engine.port import Message, Sampling
from appliance.errors import RequestRefusedError, UnsupportedParameterError
from appliance.request_flow import ChatRequest
from appliance.settings import ServerSettings

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None,),
    "store": (None, False),
    "service_tier": (None, "auto", "default"),
    "moderation": (None,),
}
"""Known fields that are not implemented, with the values that ask for nothing."""

IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    }
)
"""Known fields that cannot change an answer; accepted whatever they hold."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(_Strict):
    """One text part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """One message; ``developer`` is the newer name of ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def to_message(self) -> Message:
        """Return the turn as the engine takes it, its text parts joined."""
        text = (
            self.content
            if isinstance(self.content, str)
            else "".join(part.text for part in self.content)
        )
        role = "system" if self.role == "developer" else self.role
        return Message(role=role, content=text)


class StreamOptions(_Strict):
    """What a stream carries besides its text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatCompletionRequest(_Strict):
    """The implemented fields of ``POST /v1/chat/completions``."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[Annotated[str, Field(min_length=1)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


def parse_chat_request(
    body: bytes, *, limits: ServerSettings
) -> tuple[ChatRequest, bool]:
    """Return the request in ``body`` and whether its stream ends with the usage.

    Raises:
        UnsupportedParameterError: A field asks for what is not implemented.
        RequestRefusedError: Not JSON, or outside the schema or the limits.
    """
    parsed = _validate(_implemented(_json_object(body)))
    if len(parsed.messages) > limits.messages:
        raise RequestRefusedError(
            f"too many messages: {len(parsed.messages)}, at most {limits.messages}",
            param="messages",
        )
    request = ChatRequest(
        model=parsed.model,
        messages=tuple(message.to_message() for message in parsed.messages),
        sampling=_sampling(parsed, limits),
        stream=bool(parsed.stream),
    )
    options = parsed.stream_options
    if options is not None and not parsed.stream:
        raise RequestRefusedError(
            "stream_options is only allowed when stream is true", param="stream_options"
        )
    return request, bool(options is not None and options.include_usage)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefusedError("the request body is not valid JSON") from error
    if not isinstance(value, dict):
        raise RequestRefusedError("the request body must be a JSON object")
    if b"\\ud" in body.lower():
        _check_unicode(value)
    return value


def _check_unicode(value: dict[str, Any]) -> None:
    """Refuse halves of surrogate pairs: JSON can write them, UTF-8 cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestRefusedError(
            "the request body has text that is not Unicode"
        ) from error


def _implemented(value: dict[str, Any]) -> dict[str, Any]:
    """Return the implemented fields; refuse what asks for more."""
    for name, neutral in NEUTRAL.items():
        if name in value and not any(
            type(value[name]) is type(one) and value[name] == one for one in neutral
        ):
            raise UnsupportedParameterError(
                f"{name} is not supported by this server; leave it out", param=name
            )
    known = ChatCompletionRequest.model_fields.keys()
    for name in value:
        if name not in known and name not in NEUTRAL and name not in IGNORED:
            raise UnsupportedParameterError(
                f"this server does not know the parameter {name[:64]!r}",
                param=name[:64],
            )
    return {name: held for name, held in value.items() if name in known}


def _validate(value: dict[str, Any]) -> ChatCompletionRequest:
    try:
        return ChatCompletionRequest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestRefusedError(
            f"{field}: {first['msg']}", param=str(first["loc"][0])
        ) from error


def _sampling(parsed: ChatCompletionRequest, limits: ServerSettings) -> Sampling:
    stop = parsed.stop if parsed.stop is not None else []
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(strings) > limits.stop_strings:
        raise RequestRefusedError(
            f"too many stop strings: {len(strings)}, at most {limits.stop_strings}",
            param="stop",
        )
    newer = parsed.max_completion_tokens
    return Sampling(
        max_tokens=newer if newer is not None else parsed.max_tokens,
        temperature=1.0 if parsed.temperature is None else parsed.temperature,
        top_p=1.0 if parsed.top_p is None else parsed.top_p,
        frequency_penalty=parsed.frequency_penalty or 0.0,
        presence_penalty=parsed.presence_penalty or 0.0,
        seed=parsed.seed,
        stop=tuple(text for text in strings if text),
    )
