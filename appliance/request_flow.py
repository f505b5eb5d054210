"""One inference request, from the API key to the last byte.

1. authenticate: the key names a team, or nothing more happens.
2. parse: the body is read (bounded) and checked against the API's schema.
3. label: the team's labels, narrowed by the request's headers.
4. decide: the policy set allows, or the request is refused.
5. reserve: the engine counts tokens, checks limits and holds a place.
6. ``llm.request`` is durable in the ledger.
7. generate.
8. ``llm.response`` is durable.
9. the last piece leaves.

A refusal at any step is itself a record, ``llm.refused``, also when the caller
leaves before step 6; a flood of calls without a valid key is recorded by number.
If the ledger cannot write, nothing is served. A request that ends in any other
way than its last piece is cancelled in the engine and recorded so.
"""

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
)
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from appliance.clock import Clock
from appliance.engine.embedding import ModelEngine, Vectors
from appliance.engine.port import Piece, Ticket
from appliance.errors import (
    AuditUnavailableError,
    ClientGoneError,
    EngineUnavailableError,
    ModelNotFoundError,
    PolicyDeniedError,
)
from appliance.identity.keys import Caller
from appliance.ledger.append import Receipt
from appliance.ledger.events import Draft
from appliance.model_requests import (
    Asked,
    ChatRequest,
    EmbeddingRequest,
    ModelRequest,
)
from appliance.policy.compile import PolicySet
from appliance.policy.decide import Decision, decide
from appliance.policy.facts import Labels, ModelFacts, RequestFacts, SiteFacts
from appliance.policy.labels import effective_labels
from appliance.record_budget import RecordBudget
from appliance.request_records import Ending, Progress, refusal_draft, request_draft
from bundleformat.errors import Error

_log = logging.getLogger(__name__)

_Part = TypeVar("_Part", Piece, Vectors)
"""What an answer is made of; the last part carries the usage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Asked]):
    """One HTTP request, before anything about it is believed."""

    request_id: str
    credential: str = field(repr=False)
    class_headers: tuple[str, ...]
    region_headers: tuple[str, ...]
    read_request: Callable[[], Awaitable[Asked]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model of an active generation and the engine that has it loaded."""

    facts: ModelFacts
    generation: int
    activated_s: int
    engine: ModelEngine


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """What is active on this host at one moment; replaced whole, never changed."""

    models: Mapping[str, ServedModel]
    policy_set: PolicySet
    site: SiteFacts | None


class Host(Protocol):
    """Where a flow finds callers and what is active."""

    def view(self) -> HostView:
        """Return what is active now."""

    def identify(self, credential: str) -> Caller:
        """Return who presents ``credential``; raises AuthenticationError."""


class Ledger(Protocol):
    """Where a flow writes what it decided."""

    async def append(self, draft: Draft) -> Receipt:
        """Return once the record is durable; raises AuditUnavailableError.

        Cancelling the caller loses no record: a request that became durable
        meanwhile gets its ``llm.aborted``.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted(Generic[Asked]):
    """A request whose ``llm.request`` is durable and whose work may begin."""

    model: ServedModel
    request: Asked
    labels: Labels
    ticket: Ticket
    ending: Ending


class RequestFlow:
    """Carries requests through the nine steps of this module."""

    def __init__(self, *, host: Host, ledger: Ledger, clock: Clock) -> None:
        self._host = host
        self._ledger = ledger
        self._clock = clock
        self._budget = RecordBudget()

    async def admit(self, call: Call[Asked]) -> Admitted[Asked]:
        """Take a call through steps 1 to 6; the caller MUST then do step 7.

        Raises:
            AuthenticationError: Step 1.
            RequestRefusedError: Steps 2 and 5, and unknown models.
            PolicyDeniedError: Step 4.
            OverloadedError: Step 5, the queue is full.
            EngineUnavailableError: Step 5, the model's process is down.
            AuditUnavailableError: Step 6, or the refusal could not be recorded.
        """
        progress = Progress(
            request_id=call.request_id, started_ns=self._clock.monotonic_ns()
        )
        async with AsyncExitStack() as undo:
            try:
                admitted = await self._admit(call, progress, undo=undo)
            except AuditUnavailableError:
                raise
            except Error as error:
                await undo.aclose()
                await self._record_refusal(error, progress)
                raise
            except asyncio.CancelledError:
                if not progress.accepted:
                    gone = ClientGoneError("the client went away before its turn")
                    await asyncio.shield(self._record_refusal(gone, progress))
                raise
            undo.pop_all()
        return admitted

    async def _admit(
        self, call: Call[Asked], progress: Progress, *, undo: AsyncExitStack
    ) -> Admitted[Asked]:
        # 1. authenticate
        self._identify(call, progress)
        # 2. parse
        request = await call.read_request()
        progress.asked_model = request.model
        # The body may have taken long to come: what counts is what is true now.
        caller = self._identify(call, progress)
        view = self._host.view()
        progress.site = view.site
        model = view.models.get(request.model)
        if model is None:
            raise ModelNotFoundError(
                "the model does not exist on this host or is not active",
                param="model",
            )
        progress.model, progress.generation = model.facts, model.generation
        # 3. label
        labels = progress.labels = effective_labels(
            view.policy_set.classes,
            default_class=caller.default_class,
            class_headers=call.class_headers,
            region_headers=call.region_headers,
        )
        # 4. decide
        decision = self._decide(view, caller, model=model.facts, labels=labels)
        progress.decision = decision
        if not decision.allow:
            raise PolicyDeniedError(
                policy_ids=decision.policy_ids, reasons=decision.reasons
            )
        # 5. reserve
        undo.push_async_callback(_give_back, model.engine, call.request_id)
        ticket = await _reserve(
            model.engine, request, request_id=call.request_id, tenant=caller.team
        )
        # 6. llm.request is durable before any work begins
        return await self._accept(
            progress, model=model, request=request, labels=labels, ticket=ticket
        )

    def _identify(self, call: Call[Any], progress: Progress) -> Caller:
        caller = self._host.identify(call.credential)
        progress.team, progress.key_id = caller.team, caller.key_id
        return caller

    def _decide(
        self, view: HostView, caller: Caller, *, model: ModelFacts, labels: Labels
    ) -> Decision:
        facts = RequestFacts(
            key_id=caller.key_id,
            key_expires=caller.key_expires,
            team=caller.team,
            clearance=caller.clearance,
            labels=labels,
            model=model,
            site=view.site,
            now=self._clock.now(),
        )
        decision = decide(view.policy_set, facts)
        for problem in decision.errors:
            _log.error("a policy could not be evaluated: %s", problem)
        return decision

    async def _accept(
        self,
        progress: Progress,
        *,
        model: ServedModel,
        request: Asked,
        labels: Labels,
        ticket: Ticket,
    ) -> Admitted[Asked]:
        draft = request_draft(progress, request=request, ticket=ticket)
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
        admitted = Admitted(
            model=model,
            request=request,
            labels=labels,
            ticket=ticket,
            ending=Ending(
                progress, parent=receipt.seq, ticket=ticket, clock=self._clock
            ),
        )
        if gone:
            await self._abandon(admitted)
            raise asyncio.CancelledError
        return admitted

    async def _record_refusal(self, error: Error, progress: Progress) -> None:
        """Record a refusal; floods without a key are counted, not listed one by one."""
        unknown = progress.team is None
        if unknown and not self._budget.take(self._clock.monotonic_ns()):
            return
        left_out = self._budget.settle() if unknown else 0
        await self._ledger.append(refusal_draft(error, progress, left_out=left_out))

    def generate(self, admitted: Admitted[ChatRequest]) -> AsyncGenerator[Piece]:
        """Take an admitted chat through steps 7 to 9 and yield its pieces.

        The last piece is yielded only after its ``llm.response`` is durable.
        However the caller stops reading, the engine's cells are freed and the
        outcome is recorded.

        Raises:
            OverloadedError: The request waited longer than the queue allows.
            EngineUnavailableError: The engine died; earlier pieces are valid.
            AuditUnavailableError: Step 8 failed; the last piece is withheld.
        """
        return self._carry(admitted, admitted.model.engine.generate(admitted.ticket))

    def embed(self, admitted: Admitted[EmbeddingRequest]) -> AsyncGenerator[Vectors]:
        """Take an admitted call for vectors through steps 7 to 9, as ``generate``."""
        return self._carry(admitted, admitted.model.engine.embed(admitted.ticket))

    async def _carry(
        self, admitted: Admitted[Any], parts: AsyncIterator[_Part]
    ) -> AsyncGenerator[_Part]:
        ending = admitted.ending
        engine = admitted.model.engine
        try:
            # 7. generate
            async for part in parts:
                ending.note(part)
                if part.usage is not None:
                    # 8. llm.response is durable
                    await self._end(ending, ending.finished(part))
                # 9. the last piece leaves
                yield part
            if not ending.recorded:
                raise EngineUnavailableError("the engine ended the answer early")
        except AuditUnavailableError:
            raise
        except Error as error:
            usage = await engine.cancel(admitted.ticket.request_id)
            await self._end(ending, ending.failed(error, usage))
            raise
        finally:
            if not ending.recorded:
                await asyncio.shield(self._abandon(admitted))

    async def _abandon(self, admitted: Admitted[Any]) -> None:
        """Cancel in the engine, then record that the caller went away."""
        usage = await admitted.model.engine.cancel(admitted.ticket.request_id)
        await self._end(admitted.ending, admitted.ending.cancelled(usage))

    async def _end(self, ending: Ending, draft: Draft) -> None:
        ending.recorded = True
        await self._ledger.append(draft)


async def _reserve(
    engine: ModelEngine, request: ModelRequest, *, request_id: str, tenant: str
) -> Ticket:
    """Hold a place for whatever is asked."""
    if isinstance(request, EmbeddingRequest):
        return await engine.prepare_inputs(
            request_id,
            tenant=tenant,
            inputs=request.inputs,
            dimensions=request.dimensions,
        )
    return await engine.prepare(
        request_id,
        tenant=tenant,
        messages=request.messages,
        sampling=request.sampling,
    )


async def _give_back(engine: ModelEngine, request_id: str) -> None:
    """Free a held place, also while the caller's task is being cancelled."""
    await asyncio.shield(asyncio.ensure_future(engine.cancel(request_id)))
