"""Decides whose texts are embedded next, a batch of them at a time; pure.

A request goes prepared → started → gone. Tenants share the engine by tokens: the
one that has had the fewest for its weight is next, and within a tenant the request
that was started first. A batch is filled in that order and closed by the first
text that does not fit, which then begins the next one; so nobody is passed for
being long. Every text fits a batch, or its request is not held at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from appliance.engine.scheduling.admission import RETRY_AFTER_S
from appliance.errors import ContextLengthError, OverloadedError, RequestRefusedError
from bundleformat.errors import ConflictError

Tokens = Sequence[int]
"""The tokens of one text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorLimits:
    """Hard limits of an engine that makes vectors, all finite.

    Attributes:
        input_tokens: Tokens of one text, and of one batch.
        paced_tokens: Tokens after which no more text is added to a batch.
        inputs: Texts of one batch.
        request_tokens: Tokens of all texts of one request.
        places: Requests that may be held at once.
        queue_timeout_s: Longest life of a place whose work has not begun.
    """

    input_tokens: int
    paced_tokens: int
    inputs: int
    request_tokens: int
    places: int
    queue_timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One text of one request, in a batch."""

    request_id: str
    index: int
    tokens: Tokens
    last: bool


@dataclass(kw_only=True, slots=True)
class _Request:
    tenant: str
    weight: int
    texts: tuple[Tokens, ...]
    expires_s: float
    started: bool = False
    taken: int = 0
    """Texts that are in a batch, or were."""

    @property
    def total_tokens(self) -> int:
        return sum(map(len, self.texts))

    @property
    def done_tokens(self) -> int:
        return sum(map(len, self.texts[: self.taken]))


@dataclass(kw_only=True, slots=True)
class _Share:
    """What one tenant has waiting, and how much it has had for its weight."""

    requests: dict[str, _Request] = field(default_factory=dict)
    had: float = 0.0


class VectorQueue:
    """All requests of one engine that makes vectors."""

    def __init__(self, limits: VectorLimits) -> None:
        self._limits = limits
        self._requests: dict[str, _Request] = {}
        self._shares: dict[str, _Share] = {}
        self._debts: dict[str, float] = {}
        """What tenants had who wait for nothing now, if more than the others."""
        self._had = 0.0
        """What the tenant had who was served last, before it was served."""

    @property
    def busy(self) -> bool:
        """Whether there is a text to embed."""
        return bool(self._shares)

    @property
    def idle(self) -> bool:
        """Whether no request is held at all."""
        return not self._requests

    @property
    def waiting(self) -> int:
        """Requests whose work has not begun, or is not complete."""
        return sum(len(share.requests) for share in self._shares.values())

    @property
    def held(self) -> int:
        """Requests that hold a place."""
        return len(self._requests)

    def check_place(self, request_id: str) -> None:
        """Return if one more request may be held; cheap, so asked before any work.

        Raises:
            OverloadedError: Every place is taken.
            ConflictError: A request of that id is held already.
        """
        if request_id in self._requests:
            raise ConflictError("a request of that id is held", where=request_id)
        if len(self._requests) >= self._limits.places:
            raise OverloadedError("the queue is full", retry_after_s=RETRY_AFTER_S)

    def prepare(
        self,
        request_id: str,
        *,
        tenant: str,
        weight: int,
        texts: Iterable[Tokens],
        now_s: float,
    ) -> int:
        """Hold a place and return how many tokens the request has.

        No more of ``texts`` are looked at than it takes to refuse them.

        Raises:
            OverloadedError, ConflictError: As ``check_place``.
            ContextLengthError: A text is longer than a batch.
            RequestRefusedError: A text has no token, or they are too many together.
        """
        self.check_place(request_id)
        checked: list[Tokens] = []
        total = 0
        for tokens in texts:
            total += len(tokens)
            self._check(len(checked), tokens=len(tokens), total=total)
            checked.append(tokens)
        self._requests[request_id] = _Request(
            tenant=tenant,
            weight=weight,
            texts=tuple(checked),
            expires_s=now_s + self._limits.queue_timeout_s,
        )
        return total

    def _check(self, index: int, *, tokens: int, total: int) -> None:
        if tokens == 0:
            raise RequestRefusedError(
                f"input {index} has nothing that can be embedded", param="input"
            )
        if tokens > self._limits.input_tokens:
            raise ContextLengthError(
                limit_tokens=self._limits.input_tokens,
                prompt_tokens=tokens,
                new_tokens=0,
                index=index,
            )
        if total > self._limits.request_tokens:
            raise RequestRefusedError(
                f"the inputs up to {index} have {total} tokens, and a request may have "
                f"{self._limits.request_tokens}; send them in several requests",
                param="input",
            )

    def start(self, request_id: str) -> None:
        """Make a prepared request eligible; harmless if it is not held."""
        request = self._requests.get(request_id)
        if request is None or request.started:
            return
        request.started = True
        share = self._shares.get(request.tenant)
        if share is None:
            # Whoever was away has saved up nothing, and owes what it owed.
            had = max(self._had, self._debts.pop(request.tenant, 0.0))
            share = self._shares[request.tenant] = _Share(had=had)
        share.requests[request_id] = request

    def cancel(self, request_id: str) -> int | None:
        """Free the place; return the tokens embedded by then, or None if not held."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        self._leave(request_id, request)
        return request.done_tokens

    def expire(self, now_s: float) -> tuple[str, ...]:
        """Drop places that were held too long without work; return their ids."""
        late = tuple(
            request_id
            for request_id, request in self._requests.items()
            if request.taken == 0 and request.expires_s <= now_s
        )
        for request_id in late:
            self.cancel(request_id)
        return late

    def next_batch(self) -> list[Text]:
        """Take the texts of the next batch; the caller MUST embed them now.

        A request all of whose texts were taken holds its place no longer.
        """
        batch: list[Text] = []
        size = 0
        while self._shares and len(batch) < self._limits.inputs:
            share = min(self._shares.values(), key=attrgetter("had"))
            request_id, request = next(iter(share.requests.items()))
            tokens = request.texts[request.taken]
            if batch and size + len(tokens) > self._limits.paced_tokens:
                break
            size += len(tokens)
            self._had = share.had
            share.had += len(tokens) / request.weight
            batch.append(self._take(request_id, request))
        return batch

    def _take(self, request_id: str, request: _Request) -> Text:
        index = request.taken
        request.taken += 1
        last = request.taken == len(request.texts)
        if last:
            del self._requests[request_id]
            self._leave(request_id, request)
        return Text(
            request_id=request_id, index=index, tokens=request.texts[index], last=last
        )

    def _leave(self, request_id: str, request: _Request) -> None:
        """Take a request out of its tenant's line, and the line away if it is empty."""
        share = self._shares.get(request.tenant)
        if share is None:
            return
        share.requests.pop(request_id, None)
        if not share.requests:
            del self._shares[request.tenant]
            self._debts[request.tenant] = share.had
            self._debts = {
                tenant: had for tenant, had in self._debts.items() if had > self._had
            }
