"""One inference request, from the API key to the last byte.

1. authenticate: the key names a team, or nothing more happens.
2. count: the limits of team and host allow one more, before its body is read.
3. parse: the body is read (bounded) and checked against the API's schema.
4. label: the team's labels, narrowed by the request's headers, and what is captured.
5. decide: the policy set allows, or the request is refused.
6. reserve: the engine counts tokens, checks limits and holds a place.
7. ``llm.request`` is durable in the ledger.
8. generate.
9. ``llm.response`` is durable.
10. the last piece leaves.

Where a team captures texts, each is durable, encrypted, before the record that
commits to it is; if it cannot be kept, the call is not served.

A refusal at any step is itself a record, ``llm.refused``, also when the caller
leaves before step 7; how a flood of them is recorded is in ``refusals``. If the
ledger cannot write, nothing is served. A request that ends in any other way than
its last piece is cancelled in the engine and recorded so. What step 2 took is
given back when the request has ended, however it ended.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Mapping
from contextlib import (
    AsyncExitStack,
)
from functools import lru_cache, partial
from secrets import token_bytes

from appliance.bodies.capture import effective_capture
from appliance.bodies.commitment import SALT_BYTES
from appliance.clock import Clock
from appliance.engine.embedding import ModelEngine, Vectors
from appliance.engine.port import Piece
from appliance.errors import (
    AuditUnavailableError,
    ClientGoneError,
    ModelNotFoundError,
    OverloadedError,
    PolicyDeniedError,
    RateLimitError,
    ShuttingDownError,
)
from appliance.identity.keys import Caller
from appliance.identity.terms import Terms
from appliance.policy.labels import effective_labels
from appliance.quota.allowance import Allowance, allowance
from appliance.quota.moment import Moment
from appliance.quota.quota import Quota
from appliance.request_steps.bodies import Captured
from appliance.request_steps.decision import decide_request
from appliance.request_steps.meter import Meter
from appliance.request_steps.model_requests import Asked, ChatRequest, EmbeddingRequest
from appliance.request_steps.parts import (
    Admitted,
    Bodies,
    Call,
    Entered,
    Host,
    Knock,
    Ledger,
    Reserved,
    TurnedAway,
)
from appliance.request_steps.patience import (
    Turnstile,
    allowed_s,
    in_time,
)
from appliance.request_steps.records import (
    Ending,
    Progress,
    receipt_headers,
    request_draft,
)
from appliance.request_steps.refusals import Refusals
from appliance.request_steps.reservation import reserve, wish
from appliance.request_steps.work import RequestWork
from appliance.settings import LimitSettings
from bundleformat.errors import Error

TERMS_REMEMBERED = 256
"""Different terms whose limits need not be looked up again."""

SHUTDOWN_RETRY_S = 5
"""When to come back to a server that is ending. Unit: seconds."""


class RequestFlow:
    """Carries requests through the ten steps of this module.

    Args:
        host: Who may call, and what is active.
        ledger: Where every decision is recorded.
        bodies: Where captured texts are kept.
        clock: Tells both times.
        limits: What one request may take, and a team without terms of its own.
        quota: Counts what all requests hold.
        most_engines: Engines that are loaded at once at the most.
        queue_timeout_s: How long a request may wait for its team's turn.
        meter: Counts what happens.
    """

    def __init__(  # noqa: PLR0913 - a part of the server each
        self,
        *,
        host: Host,
        ledger: Ledger,
        bodies: Bodies,
        clock: Clock,
        limits: LimitSettings,
        quota: Quota,
        most_engines: int,
        queue_timeout_s: float,
        meter: Meter,
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._bodies = bodies
        self._clock = clock
        self._limits = limits
        self._quota = quota
        self._most_engines = most_engines
        self._work = RequestWork(
            ledger=ledger,
            bodies=bodies,
            clock=clock,
            quota=quota,
            wait_s=queue_timeout_s,
        )
        self._refusals = Refusals(ledger=ledger, clock=clock, meter=meter)
        self._meter = meter
        self._turnstile = Turnstile()
        self._stopping = False
        # One team's terms are the same for most of its requests.
        self._allowance = lru_cache(TERMS_REMEMBERED)(partial(_allowance, limits))

    def stop(self) -> None:
        """Let no request in from now on; those let in go on."""
        self._stopping = True

    async def close(self) -> None:
        """Return when every refusal is durable; every request MUST have ended."""
        await self._refusals.close()

    def enter(self, knock: Knock) -> Entered | TurnedAway:
        """Take a call through steps 1 and 2, without waiting for anything.

        The caller MUST ``leave`` one that entered, and answer one that was turned
        away with what ``turn_away`` returns.
        """
        progress = Progress(
            request_id=knock.request_id, started_ns=self._clock.monotonic_ns()
        )
        try:
            return self._enter(knock, progress)
        except (RateLimitError, OverloadedError) as error:
            return self._told(error, progress)
        except Error as error:
            return TurnedAway(error=error, progress=progress, told=False)

    def _told(self, error: Error, progress: Progress) -> TurnedAway:
        """Have a refusal recorded with others; its caller need not wait for that."""
        try:
            self._refusals.note(error, progress)
        except AuditUnavailableError as unavailable:
            error = unavailable
        return TurnedAway(error=error, progress=progress, told=True)

    async def turn_away(self, turned: TurnedAway) -> Error:
        """Return what a call that was turned away is told; its record is on its way."""
        if not turned.told:
            try:
                await self._refusals.record(turned.error, turned.progress)
            except AuditUnavailableError as error:
                return error
        return turned.error

    def leave(self, entered: Entered, *, used_tokens: int = 0) -> None:
        """Give back what a call holds; harmless when repeated."""
        self._work.leave(entered, used_tokens=used_tokens)

    def headers(self, entered: Entered) -> Mapping[str, str]:
        """Return what every answer tells of limits, capture, time and records.

        The receipt is that of the newest record of the call that is durable. When
        the head of a stream leaves, that is ``llm.request``, unless all of it is
        made by then; before a whole answer, ``llm.response``; with a refusal,
        ``llm.refused``, unless it is recorded together with others later.
        """
        captured = entered.progress.captured
        standing = self._quota.standing(entered.hold, at=self._moment())
        return {
            **standing.headers(),
            **(captured.headers() if captured is not None else {}),
            "openai-processing-ms": str(round(1000 * self._age_s(entered.progress))),
            **receipt_headers(entered.progress),
        }

    async def admit(self, entered: Entered, call: Call[Asked]) -> Admitted[Asked]:
        """Take a call through steps 3 to 7; the caller MUST then ``generate``.

        Raises:
            RequestRefusedError: Steps 3 and 6, and unknown models.
            PolicyDeniedError: Step 5.
            RateLimitError, OverloadedError: Step 6, now that all is counted.
            DeadlineError: The request's time is over.
            EngineUnavailableError: Step 6, the model's process is down.
            BodiesUnavailableError: What was asked is to be captured and cannot be.
            AuditUnavailableError: Step 7, or the refusal could not be recorded.
        """
        progress = entered.progress
        async with AsyncExitStack() as undo:
            undo.callback(self.leave, entered)
            try:
                async with in_time(self._work.left_s(entered)):
                    reserved = await self._reserve(entered, call, undo=undo)
                # 7. llm.request is durable before any work begins
                admitted = await self._accept(entered, reserved)
            except AuditUnavailableError:
                raise
            except Error as error:
                await undo.aclose()
                await self._refuse(error, progress)
                raise
            except asyncio.CancelledError:
                if not progress.accepted:
                    gone = ClientGoneError("the client went away before its turn")
                    await asyncio.shield(self._refuse(gone, progress))
                raise
            undo.pop_all()
        return admitted

    def _enter(self, knock: Knock, progress: Progress) -> Entered:
        # 1. authenticate
        caller = self._identify(knock, progress)
        # 2. count
        if self._stopping:
            raise ShuttingDownError(
                "this server is being stopped", retry_after_s=SHUTDOWN_RETRY_S
            )
        timeout_s = allowed_s(knock.timeout_header, most_s=self._limits.deadline_s)
        hold = self._quota.enter(
            caller.team,
            self._allowance(caller.terms),
            body_bytes=knock.body_bytes,
            text_bytes=knock.text_bytes,
            engines=max(1, min(len(self._host.view().models), self._most_engines)),
            at=self._moment(),
        )
        return Entered(knock=knock, progress=progress, hold=hold, timeout_s=timeout_s)

    async def _reserve(
        self, entered: Entered, call: Call[Asked], *, undo: AsyncExitStack
    ) -> Reserved[Asked]:
        knock, progress, hold = entered.knock, entered.progress, entered.hold
        # 3. parse
        body = await call.read_body()
        async with self._turnstile.turn():
            request = call.parse(body)
            progress.asked_model = request.model
            # The body may have taken long to come: what counts is what is true now.
            caller = self._identify(knock, progress)
            view = self._host.view()
            progress.site = view.site
            model = view.models.get(request.model)
            if model is None:
                raise ModelNotFoundError(
                    "the model does not exist on this host or is not active",
                    param="model",
                )
            progress.model, progress.generation = model.facts, model.generation
            # 4. label
            labels = progress.labels = effective_labels(
                view.policy_set.classes,
                default_class=caller.default_class,
                class_headers=call.class_headers,
                region_headers=call.region_headers,
            )
            progress.captures = effective_capture(
                caller.capture, model=model.capture, headers=call.capture_headers
            )
            # 5. decide
            decision = progress.decision = decide_request(
                view,
                caller,
                model=model.facts,
                labels=labels,
                now=self._clock.now(),
            )
            if not decision.allow:
                raise PolicyDeniedError(
                    policy_ids=decision.policy_ids, reasons=decision.reasons
                )
        # 6. reserve
        self._quota.choose(hold, model.facts.name)
        undo.push_async_callback(_give_back, model.engine, knock.request_id)
        wanted = wish(request, ceiling=hold.allowed.priority)
        ticket = await reserve(
            model.engine,
            request,
            request_id=knock.request_id,
            tenant=caller.team,
            weight=hold.allowed.weight,
            priority=wanted.priority,
            deadline_s=self._work.left_s(entered),
        )
        self._quota.counted(
            hold,
            prompt_tokens=ticket.prompt_tokens,
            new_tokens=ticket.max_new_tokens,
            at=self._moment(),
        )
        return Reserved(
            model=model,
            request=request,
            labels=labels,
            ticket=ticket,
            priority=wanted.priority,
            service_tier=wanted.service_tier,
        )

    def _identify(self, knock: Knock, progress: Progress) -> Caller:
        caller = self._host.identify(knock.credential)
        progress.team, progress.key_id = caller.team, caller.key_id
        return caller

    async def _accept(
        self, entered: Entered, reserved: Reserved[Asked]
    ) -> Admitted[Asked]:
        progress = entered.progress
        if progress.captures is not None:
            progress.captured = Captured(
                progress.captures,
                request=reserved.request,
                salts=(token_bytes(SALT_BYTES), token_bytes(SALT_BYTES)),
            )
            body = progress.captured.request_body(
                team=entered.hold.team, request_id=progress.request_id
            )
            if body is not None:
                await self._bodies.keep(body)
        draft = request_draft(
            progress,
            request=reserved.request,
            ticket=reserved.ticket,
            priority=reserved.priority,
            timeout_s=entered.timeout_s,
        )
        progress.accepted = True
        writing = asyncio.ensure_future(self._ledger.append(draft))
        gone = False
        try:
            receipt = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The caller left while the record was being written: it becomes
            # durable all the same, and needs its outcome like any other.
            receipt = await writing
            gone = True
        progress.receipt = receipt
        ending = Ending(
            progress,
            parent=receipt.seq,
            ticket=reserved.ticket,
            clock=self._clock,
            meter=self._meter.begin(
                reserved.model.facts.name,
                started_ns=progress.started_ns,
                accepted_ns=self._clock.monotonic_ns(),
            ),
        )
        admitted = Admitted(entered=entered, reserved=reserved, ending=ending)
        if gone:
            await self._work.abandon(admitted)
            raise asyncio.CancelledError
        return admitted

    async def _refuse(self, error: Error, progress: Progress) -> None:
        """Record a refusal; that of a caller past a limit waits for nothing."""
        if isinstance(error, RateLimitError | OverloadedError):
            self._refusals.note(error, progress)
        else:
            await self._refusals.record(error, progress)

    def generate(self, admitted: Admitted[ChatRequest]) -> AsyncGenerator[Piece]:
        """Take an admitted chat through steps 8 to 10 and yield its pieces.

        The last piece is yielded only after its ``llm.response`` is durable.
        However the caller stops reading, the engine's cells are freed and the
        outcome is recorded.

        Raises:
            OverloadedError: The request waited longer than the queue allows.
            DeadlineError: Its time is over; earlier pieces are valid.
            EngineUnavailableError: The engine died; earlier pieces are valid.
            BodiesUnavailableError: The answer is to be captured and cannot be.
            AuditUnavailableError: Step 9 failed; the last piece is withheld.
        """
        return self._work.carry(admitted, admitted.model.engine.generate)

    def embed(self, admitted: Admitted[EmbeddingRequest]) -> AsyncGenerator[Vectors]:
        """Take an admitted call for vectors through steps 8 to 10, as ``generate``."""
        return self._work.carry(admitted, admitted.model.engine.embed)

    def _moment(self) -> Moment:
        return Moment(ns=self._clock.monotonic_ns(), now=self._clock.now())

    def _age_s(self, progress: Progress) -> float:
        return (self._clock.monotonic_ns() - progress.started_ns) / 1e9


def _allowance(limits: LimitSettings, terms: Terms) -> Allowance:
    return allowance(limits, dataclasses.asdict(terms))


async def _give_back(engine: ModelEngine, request_id: str) -> None:
    """Free a held place, also while the caller's task is being cancelled."""
    await asyncio.shield(asyncio.ensure_future(engine.cancel(request_id)))
