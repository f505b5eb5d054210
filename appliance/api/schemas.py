"""OpenAI's request shape for chat completions, and nothing it does not say.

A field this server implements is checked against its range. A field it knows
but does not implement is accepted only with the value that changes nothing;
anything else is refused, because a limit or an option silently ignored is a
wrong answer. Source: OpenAI API reference, "Create chat completion".
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.api.request_json import Strict, implemented, json_object, validated
from appliance.engine.port import Message, Sampling
from appliance.errors import RequestRefusedError, UnsupportedValueError
from appliance.quota.allowance import TIERS
from appliance.request_steps.model_requests import ChatRequest
from appliance.settings import LimitSettings, ServerSettings, Settings

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "logprobs": (None, False),
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


class TextPart(Strict):
    """One text part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(Strict):
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


class StreamOptions(Strict):
    """What a stream carries besides its text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatCompletionRequest(Strict):
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
    n: Annotated[int, Field(ge=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    service_tier: str | None = None
    priority: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None


def parse_chat_request(body: bytes, *, settings: Settings) -> tuple[ChatRequest, bool]:
    """Return the request in ``body`` and whether its stream ends with the usage.

    Raises:
        UnsupportedParameterError: A field asks for what is not implemented.
        UnsupportedValueError: A field asks for more than there is.
        RequestRefusedError: Not JSON, or outside the schema or the limits.
    """
    fields = implemented(
        json_object(body),
        schema=ChatCompletionRequest,
        neutral=NEUTRAL,
        ignored=IGNORED,
    )
    parsed = validated(ChatCompletionRequest, fields)
    _check_values(parsed, settings.limits)
    most = settings.server.messages
    if len(parsed.messages) > most:
        raise RequestRefusedError(
            f"too many messages: {len(parsed.messages)}, at most {most}",
            param="messages",
        )
    request = ChatRequest(
        model=parsed.model,
        messages=tuple(message.to_message() for message in parsed.messages),
        sampling=_sampling(parsed, settings.server),
        stream=bool(parsed.stream),
        service_tier=parsed.service_tier,
        priority=parsed.priority,
    )
    options = parsed.stream_options
    if options is not None and not parsed.stream:
        raise RequestRefusedError(
            "stream_options is only allowed when stream is true", param="stream_options"
        )
    return request, bool(options is not None and options.include_usage)


def _check_values(parsed: ChatCompletionRequest, limits: LimitSettings) -> None:
    """Refuse what asks for more than this host gives."""
    for name, value, most in (
        ("n", parsed.n, limits.n),
        ("top_logprobs", parsed.top_logprobs, limits.top_logprobs),
        ("max_tokens", parsed.max_tokens, limits.output_tokens),
        (
            "max_completion_tokens",
            parsed.max_completion_tokens,
            limits.output_tokens,
        ),
    ):
        if value is not None and value > most:
            raise UnsupportedValueError(
                f"{name} is {value}, at most {most} on this server", param=name
            )
    if parsed.service_tier is not None and parsed.service_tier not in TIERS:
        raise UnsupportedValueError(
            f"service_tier must be one of {', '.join(TIERS)}", param="service_tier"
        )


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
