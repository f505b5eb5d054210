"""What the next batch holds: answers first, then prompts, then guesses.

A short prompt of a tenant of whom nothing is being written goes before all of that,
in every other step at most.

A prompt that begins like one that is being computed waits for it and takes its
cells over: sixteen callers with one system prompt compute it once. Guesses of
answers fill a batch only where no prompt waits and they make all answers faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.decoder import Decoder, Slice
from appliance.engine.scheduling.fairness import Demand, RoundRobin
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.paths import common
from appliance.engine.scheduling.request import Request
from appliance.engine.scheduling.residents import LEAST_SHARED, Residents
from appliance.engine.scheduling.speculation import (
    MOST_DRAFTS,
    TRIAL_DRAFTS,
    Lookup,
    worthwhile,
)

SHORT_TOKENS = 256
"""The longest rest of a prompt that may have a step for itself. Unit: tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One step's work.

    Attributes:
        slices: What is decoded.
        answers: Rows that continue an answer, guesses among them.
        prompt_tokens: Tokens of prompts.
        leapt: Tokens of prompts that were taken over instead.
    """

    slices: tuple[Slice, ...]
    answers: int
    prompt_tokens: int
    leapt: int


class Planner:
    """Makes batches out of running requests.

    Args:
        decoder: The model, for what it can do.
        residents: Where computed prompts lie.
        limits: Hard limits of a batch.
        pace: The learned speed of the host.
    """

    def __init__(
        self, decoder: Decoder, residents: Residents, *, limits: Limits, pace: Pace
    ) -> None:
        self._shares = decoder.shares
        self._residents = residents
        self._limits = limits
        self._pace = pace
        self._round_robin = RoundRobin()
        self._went_first = False
        """Whether the last step was a newcomer's alone."""

    def plan(self, running: Sequence[Request]) -> Batch:
        """Return the next batch; it is empty only if nobody runs."""
        answers = [each for each in running if each.answering]
        prompts = [each for each in running if not each.answering]
        leapt = self._leap(prompts) if self._shares else 0
        leading = self._leading(prompts) if self._shares else prompts
        first = () if self._went_first else _newcomers(leading, answers)
        self._went_first = bool(first)
        if first:
            return self._alone(first, leapt=leapt)
        given = self._round_robin.divide(
            [_demand(each) for each in leading],
            room=(
                self._pace.room(rows=len(answers), prompts=len(leading))
                if leading
                else 0
            ),
        )
        drafts = {} if leading else self._drafts(answers)
        slices = [_answer(each, drafts.get(each.request_id, ())) for each in answers]
        slices += [
            _prompt(each, given[each.request_id])
            for each in leading
            if given.get(each.request_id)
        ]
        # Parts of a cache are computed at once where they follow on each other.
        slices.sort(key=lambda part: part.sequence)
        return Batch(
            slices=tuple(slices),
            answers=len(answers) + sum(map(len, drafts.values())),
            prompt_tokens=sum(given.values()),
            leapt=leapt,
        )

    def _alone(self, first: Sequence[Request], *, leapt: int) -> Batch:
        """Return a step of these prompts, as long as one may be while nobody waits."""
        room = self._pace.room(rows=0)
        slices = []
        for request in first:
            count = min(request.pending, room)
            room -= count
            if count:
                slices.append(_prompt(request, count))
        slices.sort(key=lambda part: part.sequence)
        tokens = sum(len(part.tokens) for part in slices)
        return Batch(slices=tuple(slices), answers=0, prompt_tokens=tokens, leapt=leapt)

    def learn(self, batch: Batch, *, took_s: float) -> None:
        """Learn from a batch that has been decoded."""
        self._pace.observe(
            rows=batch.answers, prompt_tokens=batch.prompt_tokens, took_s=took_s
        )

    def _leap(self, prompts: Sequence[Request]) -> int:
        """Let prompts take over what others computed meanwhile; count the tokens."""
        leapt = 0
        for request in prompts:
            before = request.position
            request.position = self._residents.leap(request.sequence, tokens=before)
            request.reused += request.position - before
            leapt += request.position - before
        return leapt

    def _leading(self, prompts: Sequence[Request]) -> list[Request]:
        """Return the prompts that need not wait for another's computation."""
        leading: list[Request] = []
        for request in prompts:
            if not any(_follows(request, each) for each in leading):
                leading.append(request)
        return leading

    def _drafts(self, answers: Sequence[Request]) -> dict[str, tuple[int, ...]]:
        """Return the guesses worth computing beside the answers."""
        rows = len(answers)
        room = min(self._limits.draft_tokens, self._limits.batch_tokens - rows)
        if room <= 0 or not rows or not self._may_pay(rows):
            return {}
        drafts: dict[str, tuple[int, ...]] = {}
        for request in answers:
            guesses = _lookup(request).guess(min(room, request.left - 1, MOST_DRAFTS))
            if guesses and self._pays(request, rows, len(guesses)):
                drafts[request.request_id] = guesses
                room -= len(guesses)
        return drafts

    def _may_pay(self, rows: int) -> bool:
        """Return whether guesses could pay if all of them were right."""
        return worthwhile(
            rate=1.0,
            drafts=TRIAL_DRAFTS,
            rows=rows,
            step_s=self._pace.answers_s(rows),
            longer_s=self._pace.answers_s(rows + TRIAL_DRAFTS),
        )

    def _pays(self, request: Request, rows: int, drafts: int) -> bool:
        return worthwhile(
            rate=_lookup(request).rate,
            drafts=drafts,
            rows=rows,
            step_s=self._pace.answers_s(rows),
            longer_s=self._pace.answers_s(rows + drafts),
        )


def _newcomers(
    prompts: Sequence[Request], answers: Sequence[Request]
) -> tuple[Request, ...]:
    """Return the short prompts of tenants of whom no answer is being written.

    While others' are, such a prompt has a step for itself, and never two on end: who
    asks now and then does not wait as long as those who ask all the time.
    """
    writing = {each.tenant for each in answers}
    if not writing:
        return ()
    return tuple(
        each
        for each in prompts
        if each.tenant not in writing and each.pending <= SHORT_TOKENS
    )


def _lookup(request: Request) -> Lookup:
    """Return what guesses for ``request``, made when first asked for."""
    if request.lookup is None:
        request.lookup = Lookup((*request.prompt, *request.generated))
    return request.lookup


def _follows(request: Request, leader: Request) -> bool:
    """Return whether ``leader`` is computing what ``request`` needs next."""
    if request.path is None or leader.path is None:
        return False
    same = request.in_common.get(leader.request_id)
    if same is None:
        length = common(request.path.tokens[:-1], leader.path.tokens)
        same = request.path.cells(length)
        request.in_common[leader.request_id] = same
    return leader.position < same and same - request.position >= LEAST_SHARED


def _demand(request: Request) -> Demand:
    return Demand(
        name=request.request_id,
        tenant=request.tenant,
        weight=request.weight,
        tokens=request.pending,
    )


def _answer(request: Request, guesses: Sequence[int]) -> Slice:
    return Slice(
        sequence=request.sequence,
        position=request.position,
        tokens=(request.generated[-1], *guesses),
        wants_token=True,
        drafts=len(guesses),
    )


def _prompt(request: Request, count: int) -> Slice:
    return Slice(
        sequence=request.sequence,
        position=request.position,
        tokens=request.tokens(count),
        wants_token=count == request.pending,
    )
