"""The frames between the gateway and an engine process, and their encoding.

A frame is a 4-byte big-endian length and that many bytes of msgpack: a map with
a ``type`` key. Both sides refuse unknown types, unknown fields and lengths above
:data:`MAX_FRAME_BYTES`, and drop the connection on the first bad frame: the peer
is broken then, and guessing would be worse. The gateway speaks first (``Load``).
"""

from collections.abc import Iterator

import msgspec

from appliance.engine.planning.choices import CacheType, FlashAttention, Timing
from appliance.engine.planning.memory import Footprint, Loaded
from appliance.engine.port import FinishReason, Message, Sampling
from appliance.engine.scheduling.admission import Limits
from bundleformat.errors import LimitExceededError, MalformedError

MAX_FRAME_BYTES = 16 * 2**20
"""Largest frame either side accepts.

Unit: bytes of msgpack. Four times the default HTTP body, because escaped JSON
never shrinks a text by more.
"""

LENGTH_BYTES = 4
"""Size of the big-endian length before each frame."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Anything that crosses the socket."""


class Load(Frame, frozen=True, kw_only=True, tag=True):
    """First frame: the files of the model, in order, and its hard limits.

    ``shared_prompts`` are the system prompts that all tenants may have computed
    for each other. How the cache is kept, and what is put on a GPU or mapped, is
    chosen by whoever measured. A probe is sent the very frame that an engine
    process would be.
    """

    model_paths: tuple[str, ...]
    limits: Limits
    threads: int
    step_s: float
    shared_prompts: tuple[str, ...] = ()
    cache_type: CacheType = "f16"
    flash_attention: FlashAttention = "auto"
    gpu_layers: int = -1
    mapped: bool = True


class Prepare(Frame, frozen=True, kw_only=True, tag=True):
    """Render, count and hold a place.

    ``tenant``, ``weight``, ``priority`` and ``deadline_s`` are those of
    :class:`appliance.engine.port.Engine`.
    """

    request_id: str
    tenant: str
    messages: tuple[Message, ...]
    sampling: Sampling
    weight: int = 1
    priority: int = 0
    deadline_s: float | None = None


class PrepareInputs(Frame, frozen=True, kw_only=True, tag=True):
    """Count what is to be embedded and hold a place; see ``embedding.Inputs``."""

    request_id: str
    tenant: str
    texts: tuple[str, ...]
    tokens: tuple[bytes, ...]
    dimensions: int | None
    weight: int


class Start(Frame, frozen=True, kw_only=True, tag=True):
    """Make a held request eligible to run."""

    request_id: str


class Cancel(Frame, frozen=True, kw_only=True, tag=True):
    """End a request in whatever state it is; answered by ``Ended`` if it lived."""

    request_id: str


class UseThreads(Frame, frozen=True, kw_only=True, tag=True):
    """Compute with so many threads from the next step on."""

    threads: int


class AskStats(Frame, frozen=True, kw_only=True, tag=True):
    """Ask for ``Stats``; also the watchdog's question whether anyone is there."""


class Ready(Frame, frozen=True, kw_only=True, tag=True):
    """The model is loaded; these are the limits that hold for it, and its memory.

    ``longest_token_bytes`` bounds the text that one token stands for; None says
    that a token of this vocabulary may stand for a text of any length.
    ``vector_size`` is how many numbers make a vector; None of a model that writes
    text.
    """

    context_tokens: int
    cells: int
    sequences: int
    batch_tokens: int
    longest_token_bytes: int | None
    loaded: Loaded
    vector_size: int | None = None


class Measured(Frame, frozen=True, kw_only=True, tag=True):
    """What a load would take; a probe's answer to ``Load``."""

    footprint: Footprint


class Timed(Frame, frozen=True, kw_only=True, tag=True):
    """How fast a model is; a stopwatch's answer to ``Load``."""

    timing: Timing


class LoadFailed(Frame, frozen=True, kw_only=True, tag=True):
    """The model cannot be served; the process ends after this frame."""

    problem: str


class Prepared(Frame, frozen=True, kw_only=True, tag=True):
    """A place is held."""

    request_id: str
    prompt_tokens: int
    max_new_tokens: int


class TooLong(Frame, frozen=True, kw_only=True, tag=True):
    """Prompt and answer, or one input, exceed the context; no place is held."""

    request_id: str
    limit_tokens: int
    prompt_tokens: int
    new_tokens: int
    index: int | None = None


class Refused(Frame, frozen=True, kw_only=True, tag=True):
    """The request cannot be rendered or sampled as written; no place is held."""

    request_id: str
    problem: str
    param: str | None


class Overloaded(Frame, frozen=True, kw_only=True, tag=True):
    """The queue is full, or the request waited too long; no place is held."""

    request_id: str
    problem: str
    retry_after_s: int


class Delta(Frame, frozen=True, kw_only=True):
    """What one step added to one request; the last one has a finish reason."""

    request_id: str
    text: str
    completion_tokens: int
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    queued_s: float = 0.0


class Step(Frame, frozen=True, kw_only=True, tag=True):
    """Everything that one batch produced, for all requests together."""

    deltas: tuple[Delta, ...]


class Part(Frame, frozen=True, kw_only=True):
    """Vectors of consecutive inputs of one request; ``first`` is the first's index."""

    request_id: str
    first: int
    vectors: tuple[bytes, ...]
    last: bool


class Embedded(Frame, frozen=True, kw_only=True, tag=True):
    """Every vector that one batch produced, for all requests together."""

    parts: tuple[Part, ...]


class Ended(Frame, frozen=True, kw_only=True, tag=True):
    """A cancelled request is gone and its cells are free."""

    request_id: str
    prompt_tokens: int
    completion_tokens: int


class Stats(Frame, frozen=True, kw_only=True, tag=True):
    """Counts at one moment between two steps; a model of vectors has no cells."""

    pid: int
    prepared: int
    waiting: int
    running: int
    tokens_prefilled: int
    steps: int
    threads: int
    cells: int = 0
    cells_used: int = 0
    cells_reserved: int = 0
    cells_cached: int = 0
    tokens_decoded: int = 0
    tokens_reused: int = 0
    tokens_drafted: int = 0
    drafts_kept: int = 0
    preemptions: int = 0
    interruptions: int = 0


Order = Load | Prepare | PrepareInputs | Start | Cancel | UseThreads | AskStats
"""What the gateway sends."""

Report = (
    Ready
    | Measured
    | Timed
    | LoadFailed
    | Prepared
    | TooLong
    | Refused
    | Overloaded
    | Step
    | Embedded
    | Ended
    | Stats
)
"""What an engine process sends."""

_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(frame: Order | Report) -> bytes:
    """Return the frame with its length before it.

    Raises:
        LimitExceededError: The frame is above :data:`MAX_FRAME_BYTES`.
        MalformedError: A text holds half of a surrogate pair, which no UTF-8 has.
    """
    try:
        payload = _encoder.encode(frame)
    except UnicodeEncodeError as error:
        raise MalformedError("a text that is not Unicode") from error
    check_length(len(payload))
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def decode_order(payload: bytes) -> Order:
    """Return the order in ``payload``.

    Raises:
        MalformedError: It is not one of the gateway's frames.
    """
    try:
        return _orders.decode(payload)
    except msgspec.MsgspecError as error:
        raise MalformedError("not an order frame", actual=str(error)) from error


def decode_report(payload: bytes) -> Report:
    """Return the report in ``payload``.

    Raises:
        MalformedError: It is not one of an engine's frames.
    """
    try:
        return _reports.decode(payload)
    except msgspec.MsgspecError as error:
        raise MalformedError("not a report frame", actual=str(error)) from error


def check_length(length: int) -> int:
    """Return ``length`` if a frame may be that long.

    Raises:
        LimitExceededError: It may not; nothing was allocated.
    """
    if length > MAX_FRAME_BYTES:
        raise LimitExceededError(
            "frame too long",
            expected=f"at most {MAX_FRAME_BYTES} bytes",
            actual=f"{length} bytes",
        )
    return length


class FrameSplitter:
    """Cuts a byte stream into payloads; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def incomplete(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every payload that ``data`` completes.

        Raises:
            LimitExceededError: A length prefix is above the limit.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            length = check_length(int.from_bytes(self._buffer[:LENGTH_BYTES], "big"))
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[LENGTH_BYTES:end])
            del self._buffer[:end]
            yield payload
