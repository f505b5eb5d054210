"""The appliance's leaves of the error tree.

::

    RefusalError
    ├── SignatureError
    │   └── KeyChainError           a key that the one before it does not vouch for
    ├── PolicyDeniedError           Cedar said no, or could not say yes
    ├── AuthenticationError         unknown, wrong, expired or revoked key
    ├── UnsuitableHostError         a bundle that is not for this host
    ├── UnsuitableReleaseError      a release that is not for this halt
    ├── UnsuitableApprovalError     an approval of something else
    ├── UsedApprovalError           an approval by which it was done already
    ├── BodyNotKeptError            a prompt or answer that was never kept
    ├── BodyErasedError             a prompt or answer that was erased
    ├── BodyPrunedError             a prompt or answer whose time was over
    ├── RetentionConflictError      two texts that cannot both be kept to
    ├── HeldError                   a hold keeps what was to go
    └── RequestRefusedError         this request, as written, will not be served
        ├── UnsupportedParameterError
        ├── UnsupportedValueError
        ├── CaptureRefusedError     a caller asked for more than its team captures
        ├── ContextLengthError          prompt and answer do not fit the context
        ├── RateLimitError              the team has reached a limit of its own
        ├── ModelNotFoundError
        ├── UnsuitableModelError        asked for text or vectors, makes the other
        ├── BodyTooLargeError
        ├── BodyTimeoutError
        ├── ClientGoneError         nobody waits for the answer any more
        ├── NotHereError            only for who asks on the host itself
        └── MediaTypeError
    FaultError
    ├── OverloadedError             every place is taken: come back later
    │   ├── QueueTimeoutError           a place was held too long for nothing
    │   ├── ShuttingDownError           nothing new is begun any more
    │   ├── ModelLoadingError       the model is not loaded yet
    │   └── NoRoomError             other models have the memory it needs
    ├── ModelUnavailableError       taken out after crashes, or cannot be loaded
    ├── DeadlineError               the request's time is over
    ├── AuditUnavailableError       the ledger cannot write, so nothing is served
    ├── BodiesUnavailableError      a body cannot be kept, so its call is not served
    ├── BodyLostError               a body is gone, and no record says why
    ├── EngineUnavailableError      the engine process is down or restarting
    │   └── ProbeDiedError              a process that only measured the model died
    ├── InsufficientMemoryError     a load would take more memory than there is
    └── HostNotReadyError           not commissioned, or another process holds it

HTTP error bodies follow the OpenAI shape; ``error_type`` is its ``type`` and
``param`` names the request field concerned.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from bundleformat.errors import FaultError, RefusalError, SignatureError


class KeyChainError(SignatureError):
    """A key of a ledger is not vouched for by the one before it."""

    code = "key-chain"


class PolicyDeniedError(RefusalError):
    """The policy set did not allow the request.

    Attributes:
        policy_ids: Ids of the policies that decided, in a stable order.
        reasons: The ``@reason`` of each, in the same order.
    """

    code = "policy-denied"
    http_status = 403
    error_type: ClassVar[str] = "permission_error"

    def __init__(
        self, *, policy_ids: tuple[str, ...], reasons: tuple[str, ...]
    ) -> None:
        self.policy_ids = policy_ids
        self.reasons = reasons
        why = "; ".join(
            f"{pid} ({reason})" for pid, reason in zip(policy_ids, reasons, strict=True)
        )
        super().__init__(f"refused by policy: {why}")


class AuthenticationError(RefusalError):
    """The API key is missing, unknown, wrong, expired or revoked.

    The text is the same for all of them, so that an answer never tells an
    attacker which keys exist.
    """

    code = "invalid-api-key"
    http_status = 401
    error_type: ClassVar[str] = "authentication_error"

    def __init__(self) -> None:
        super().__init__("incorrect API key provided")


class UnsuitableHostError(RefusalError):
    """The bundle is sound and is not for this host, or not as it is set up."""

    code = "host-unsuitable"


class RequestRefusedError(RefusalError):
    """The request, as written, will not be served.

    Attributes:
        param: The request field concerned, in the API's spelling, or None.
    """

    code = "invalid-request"
    http_status = 400
    error_type: str = "invalid_request_error"

    def __init__(self, problem: str, *, param: str | None = None) -> None:
        self.param = param
        super().__init__(problem)


class UnsupportedParameterError(RequestRefusedError):
    """A field or value this server does not implement; it is never ignored."""

    code = "unsupported-parameter"


class UnsupportedValueError(RequestRefusedError):
    """A field this server knows, with a value it does not take."""

    code = "unsupported-value"


class CaptureRefusedError(RequestRefusedError):
    """The caller asked for more to be captured than its team, or for no level."""

    code = "capture-refused"


class RateLimitError(RequestRefusedError):
    """The team has reached a limit of its own.

    Attributes:
        error_type: What there is too much of: ``requests`` or ``tokens``.
        retry_after_s: Seconds after which there is room for this request.
        headers: How the team stands with its limits, as headers of the answer.
    """

    code = "rate-limit-exceeded"
    http_status = 429

    def __init__(
        self,
        problem: str,
        *,
        kind: Literal["requests", "tokens"],
        retry_after_s: float,
        headers: Mapping[str, str],
    ) -> None:
        self.error_type = kind
        self.retry_after_s = retry_after_s
        self.headers = headers
        super().__init__(problem)


class ContextLengthError(RequestRefusedError):
    """Prompt plus new tokens exceed the context of one request, or an input does.

    Attributes:
        limit_tokens: Tokens one request may hold, prompt and answer together.
        prompt_tokens: Tokens of the rendered prompt, or of the input.
        new_tokens: Tokens asked for (``max_tokens``), at least one; 0 of an input.
        index: Which input of a request for embeddings, or None.
    """

    code = "context-length-exceeded"

    def __init__(
        self,
        *,
        limit_tokens: int,
        prompt_tokens: int,
        new_tokens: int,
        index: int | None = None,
    ) -> None:
        self.limit_tokens = limit_tokens
        self.prompt_tokens = prompt_tokens
        self.new_tokens = new_tokens
        self.index = index
        super().__init__(
            f"This model's maximum context length is {limit_tokens} tokens. "
            f"However, {self._asked()}; nothing is ever truncated silently.",
            param="messages" if index is None else "input",
        )

    def _asked(self) -> str:
        if self.index is not None:
            return (
                f"input {self.index} has {self.prompt_tokens} tokens. Please "
                "shorten it, or split it and embed its parts"
            )
        total = self.prompt_tokens + self.new_tokens
        return (
            f"you requested {total} tokens ({self.prompt_tokens} in the messages, "
            f"{self.new_tokens} in the completion). Please shorten the messages or "
            "lower max_tokens"
        )


class UnsuitableModelError(RequestRefusedError):
    """The model does something else: it writes text, or it makes vectors."""

    code = "unsuitable-model"


class ModelNotFoundError(RequestRefusedError):
    """No active generation on this host holds a model of that name."""

    code = "model-not-found"
    http_status = 404


class BodyTooLargeError(RequestRefusedError):
    """The request body is above the limit; the rest of it was not read."""

    code = "body-too-large"
    http_status = 413


class MediaTypeError(RequestRefusedError):
    """The request body is not JSON."""

    code = "unsupported-media-type"
    http_status = 415


class BodyTimeoutError(RequestRefusedError):
    """The request body did not arrive in time."""

    code = "body-timeout"
    http_status = 408


class ClientGoneError(RequestRefusedError):
    """The client went away before its request was accepted.

    Its status is only ever recorded. Source: nginx's convention for 499.
    """

    code = "client-gone"
    http_status = 499


class NotHereError(RequestRefusedError):
    """What was asked for is told only to who asks on the host itself."""

    code = "loopback-only"
    http_status = 403
    error_type = "permission_error"


class OverloadedError(FaultError):
    """Every place is taken.

    Attributes:
        retry_after_s: Seconds after which a retry is sensible (1 to 120).
    """

    code = "server-overloaded"
    http_status = 503
    error_type: ClassVar[str] = "server_error"

    def __init__(self, problem: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(problem)


class ModelLoadingError(OverloadedError):
    """The model is being loaded, and the request has waited as long as it may."""

    code = "model-loading"


class NoRoomError(OverloadedError):
    """The model is not loaded and cannot be now: what others hold, they keep.

    Attributes:
        needed_bytes: Memory that the model takes.
        free_bytes: Memory that no engine has.
        engines: Engines that are loaded or being loaded.
        most_engines: How many there may be.
    """

    code = "model-no-room"

    def __init__(
        self,
        *,
        needed_bytes: int,
        free_bytes: int,
        engines: int,
        most_engines: int,
        retry_after_s: int,
    ) -> None:
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.engines = engines
        self.most_engines = most_engines
        super().__init__(
            f"there is no room for this model: it needs {needed_bytes:,} bytes of "
            f"memory and {free_bytes:,} are free, with {engines} of at most "
            f"{most_engines} models loaded, none of which may be unloaded now",
            retry_after_s=retry_after_s,
        )


class ModelUnavailableError(FaultError):
    """The model is active and is not served: it was taken out, or does not load.

    Attributes:
        retry_after_s: Seconds after which it is tried again, or None if nothing is
            tried before an operator does something.
    """

    code = "model-unavailable"
    http_status = 503
    error_type: ClassVar[str] = "server_error"

    def __init__(self, problem: str, *, retry_after_s: int | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(problem)


class QueueTimeoutError(OverloadedError):
    """A place was held, and the request did not get to run in time."""

    code = "queue-timeout"


class ShuttingDownError(OverloadedError):
    """The server ends what it does and begins nothing new."""

    code = "shutting-down"


class DeadlineError(FaultError):
    """The request's time was over before its answer was complete.

    Asking again would take as long, so the answer says not to.
    """

    code = "request-timeout"
    http_status = 504
    error_type: ClassVar[str] = "server_error"


class AuditUnavailableError(FaultError):
    """The ledger cannot write, so nothing is served.

    Source: NIST SP 800-53 AU-5.

    Attributes:
        cause: The short name of why the ledger has to halt, or "" where it need not.
        details: What the record of that says beside the cause.
    """

    code = "audit-unavailable"
    http_status = 503
    error_type: ClassVar[str] = "server_error"

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        actual: str = "",
        hint: str = "",
        cause: str = "",
        details: Mapping[str, str | int | tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        self.cause = cause
        self.details = details
        super().__init__(
            problem, where=where, expected=expected, actual=actual, hint=hint
        )


class UnsuitableReleaseError(RefusalError):
    """The release is sound and is not for this halt of this ledger, or not yet."""

    code = "release-unsuitable"


class UnsuitableApprovalError(RefusalError):
    """The approval is sound and is for something else, or not yet."""

    code = "approval-unsuitable"


class UsedApprovalError(RefusalError):
    """The act was done by this approval already, and is not done twice."""

    code = "approval-used"


class BodyNotKeptError(RefusalError):
    """The request is on record and its text was never kept."""

    code = "body-not-kept"
    http_status = 404


class BodyErasedError(RefusalError):
    """The text was erased; a record says when, by whom and on which basis."""

    code = "body-erased"
    http_status = 404


class BodyPrunedError(RefusalError):
    """The text went when its time was over; a record says by whose order."""

    code = "body-pruned"
    http_status = 404


class BodyLostError(FaultError):
    """A record commits to a kept text that is gone, and no record says why."""

    code = "body-lost"


class RetentionConflictError(RefusalError):
    """What the site certificate names cannot all be kept to, or is not known here."""

    code = "retention-conflict"


class HeldError(RefusalError):
    """A legal hold keeps what was to go."""

    code = "held"


class BodiesUnavailableError(FaultError):
    """A body that is to be captured cannot be kept, so its call is not served."""

    code = "bodies-unavailable"
    http_status = 503
    error_type: ClassVar[str] = "server_error"


class EngineUnavailableError(FaultError):
    """The engine process of the model is down, crashed or restarting."""

    code = "engine-unavailable"
    http_status = 503
    error_type: ClassVar[str] = "server_error"


class ProbeDiedError(EngineUnavailableError):
    """The process that was to say what a model takes died on it.

    Attributes:
        process_status: Its exit status; negative: the signal.
    """

    code = "probe-died"

    def __init__(self, *, process_status: int, where: str = "") -> None:
        self.process_status = process_status
        super().__init__(
            "the memory probe died on this model",
            where=where,
            actual=f"exit status {process_status}",
        )


class InsufficientMemoryError(FaultError):
    """A model was not loaded, because it would take more memory than there is.

    Attributes:
        device: Whose memory: ``host``, or the name of a GPU.
        needed_bytes: What the load takes of it.
        allowed_bytes: What it may take, the margin taken off.
        limit: What sets that limit, in words.
        fitting: Context tokens, sequences and cells that would fit, or None.
    """

    code = "insufficient-memory"
    http_status = 503
    error_type: ClassVar[str] = "server_error"

    def __init__(
        self,
        *,
        device: str,
        needed_bytes: int,
        allowed_bytes: int,
        limit: str,
        fitting: tuple[int, int, int] | None = None,
        where: str = "",
    ) -> None:
        self.device = device
        self.needed_bytes = needed_bytes
        self.allowed_bytes = allowed_bytes
        self.limit = limit
        self.fitting = fitting
        super().__init__(
            "the model would take more memory than there is",
            where=where,
            expected=f"at most {allowed_bytes:,} bytes of {device} memory ({limit}, "
            "less the margin)",
            actual=f"{needed_bytes:,} bytes",
            hint=_memory_hint(fitting),
        )


def _memory_hint(fitting: tuple[int, int, int] | None) -> str:
    if fitting is None:
        return "Free memory, or choose a smaller model."
    context, sequences, cells = fitting
    return (
        "This would fit, in the section [engine] of sallyport.toml: "
        f"context_tokens = {context}, sequences = {sequences}, cells = {cells}."
    )


class HostNotReadyError(FaultError):
    """This host is not commissioned, or another process holds it."""

    code = "host-not-ready"
    http_status = 503
    error_type: ClassVar[str] = "server_error"
