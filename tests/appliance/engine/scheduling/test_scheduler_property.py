"""Whatever arrives and whoever leaves, the promises of the scheduler hold.

The fake decoder fails the test when cells, batch, outputs or positions break, when
a sequence has a hole, and when cells of other tokens are shared.
"""

import dataclasses
import math
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import PART_CELLS, Limits, fit
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.errors import ContextLengthError, OverloadedError
from tests.support.fake_decoder import FakeDecoder

LIMITS = Limits(
    context_tokens=40,
    cells=60,
    sequences=3,
    batch_tokens=12,
    queued_requests=3,
    queue_timeout_s=50,
    default_max_tokens=12,
    spare_sequences=1,
    cached_sequences=2,
    draft_tokens=4,
    spill_bytes=200,
    spill_tokens=10,
)
ALPHABET = "abcd"
PUBLIC = (7,) * 9
"""A beginning that all tenants share."""


class Requests(RuleBasedStateMachine):
    """Random arrivals, starts, cancellations, expiries, steps and broken batches."""

    shares = True
    limits = LIMITS

    def __init__(self) -> None:
        super().__init__()
        self.limits = fit(self.limits, trained_tokens=99, shares=self.shares)
        self.decoder = FakeDecoder(
            cells=self.limits.cells,
            parted=self.limits.parted,
            sequences=self.limits.resident_sequences,
            batch_tokens=12,
            shares=self.shares,
            alphabet=len(ALPHABET),
        )
        self.decoder.outputs = self.limits.outputs
        pace = Pace(target_s=math.inf, alone_s=math.inf, batch_tokens=12, token_s=0)
        pace.observe(rows=1, prompt_tokens=0, took_s=1)
        self.scheduler = Scheduler(
            self.decoder, limits=self.limits, pace=pace, public=(PUBLIC,)
        )
        self.now_s = 0.0
        self.number = 0
        self.prepared: list[str] = []
        self.live: list[str] = []
        self.answers: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.asked: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.ended: list[tuple[str, tuple[int, ...]]] = []
        """Tenant and tokens of conversations that may go on."""

    @rule(
        prompt=st.integers(1, 42),
        answer=st.sampled_from((1, 4, 7, 15, 20)),
        max_tokens=st.none() | st.integers(1, 20),
        starts=st.booleans(),
        tenant=st.sampled_from(("red", "blue")),
        priority=st.integers(-1, 1),
    )
    def arrive(
        self,
        *,
        prompt: int,
        answer: int,
        max_tokens: int | None,
        starts: bool,
        tenant: str,
        priority: int,
    ) -> None:
        self.ask(
            (answer,) * prompt,
            max_tokens=max_tokens,
            starts=starts,
            tenant=tenant,
            priority=priority,
        )

    @precondition(lambda self: self.ended)
    @rule(which=st.integers(0, 99), more=st.integers(1, 4))
    def go_on(self, *, which: int, more: int) -> None:
        """Ask again with all that was said before."""
        tenant, tokens = self.ended[which % len(self.ended)]
        self.ask((*tokens, *range(50, 50 + more)), starts=True, tenant=tenant)

    def ask(
        self,
        prompt: tuple[int, ...],
        *,
        starts: bool,
        tenant: str,
        max_tokens: int | None = None,
        priority: int = 0,
    ) -> None:
        self.number += 1
        name = f"r{self.number}"
        answer = prompt[0]
        try:
            max_new = self.scheduler.prepare(
                name,
                prompt=prompt,
                sampling=Sampling(max_tokens=max_tokens),
                now_s=self.now_s,
                tenant=tenant,
                priority=priority,
            )
        except OverloadedError:
            assert len(self.prepared) + len(self.live) == LIMITS.places
            return
        except ContextLengthError:
            assert len(prompt) + (max_tokens or 1) > LIMITS.context_tokens
            return
        self.answers[name] = (ALPHABET * 5)[: min(answer, max_new)]
        self.texts[name] = ""
        self.asked[name] = (tenant, prompt)
        self.prepared.append(name)
        if starts:
            self.start()

    @precondition(lambda self: self.prepared)
    @rule()
    def start(self) -> None:
        name = self.prepared.pop()
        self.live.append(name)
        self.scheduler.start(name)

    @precondition(lambda self: self.prepared or self.live)
    @rule(which=st.integers(0, 99))
    def cancel(self, *, which: int) -> None:
        names = self.prepared + self.live
        name = names[which % len(names)]
        assert self.scheduler.cancel(name) is not None
        self.forget(name)

    @rule(seconds=st.integers(1, 30))
    def wait(self, *, seconds: int) -> None:
        self.now_s += seconds
        for name in self.scheduler.expire(self.now_s):
            self.forget(name)

    @rule(times=st.integers(1, 6))
    def step(self, *, times: int) -> None:
        for _ in range(times):
            self.once()

    @precondition(lambda self: self.scheduler.counts().running > 1)
    @rule()
    def break_a_batch(self) -> None:
        self.decoder.full_next = 1
        self.once()
        self.decoder.full_next = 0

    @precondition(lambda self: self.scheduler.counts().running)
    @rule()
    def interrupt_a_batch(self) -> None:
        before = self.scheduler.counts().done.interruptions
        self.decoder.interrupt()
        assert self.scheduler.step(self.now_s) == ()
        assert self.scheduler.counts().done.interruptions == before + 1

    def once(self) -> None:
        for progress in self.scheduler.step(self.now_s):
            name = progress.request_id
            assert name in self.live, "a word from a request that has ended"
            self.texts[name] += progress.text
            if progress.finish_reason is not None:
                assert self.texts[name] == self.answers[name]
                tenant, prompt = self.asked[name]
                said = tuple(map(ord, self.texts[name]))
                self.ended = [*self.ended[-3:], (tenant, (*prompt, *said))]
                self.forget(name)

    def forget(self, name: str) -> None:
        for names in (self.prepared, self.live):
            if name in names:
                names.remove(name)

    @invariant()
    def cells_are_reserved_before_they_are_used(self) -> None:
        counts = self.scheduler.counts()
        assert self.decoder.used == counts.cells_used
        taken = counts.cells_reserved + counts.cells_cached
        assert counts.cells_used <= taken <= self.limits.cells
        assert counts.prepared == len(self.prepared)
        assert counts.waiting + counts.running == len(self.live)
        assert counts.running == len(self.decoder.open_samplers)

    def teardown(self) -> None:
        """Everything that was started ends, within as many steps as it has tokens."""
        for _ in range(LIMITS.places * LIMITS.context_tokens):
            if not self.scheduler.busy:
                break
            self.once()
        assert not self.live, "a request starves"
        assert self.scheduler.counts().cells_reserved == 0


class WholeRequests(Requests):
    """The same where sequences can only be continued where they end."""

    shares = False


class PartedRequests(Requests):
    """The same where each sequence has a part of the cache."""

    limits = dataclasses.replace(LIMITS, cells=4 * PART_CELLS, parted=True)


BOUNDS = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestRequests = Requests.TestCase
TestRequests.settings = BOUNDS
TestWholeRequests = WholeRequests.TestCase
TestWholeRequests.settings = BOUNDS
TestPartedRequests = PartedRequests.TestCase
TestPartedRequests.settings = BOUNDS


@pytest.mark.parametrize("kind", [Requests, WholeRequests, PartedRequests])
def test_promises_hold_in_a_long_and_busy_life(kind: type[Requests]) -> None:
    """A life long enough that sequences are shared, spilled and brought back."""
    life = kind()
    chance = random.Random(5)  # noqa: S311  # the same life every time
    for _ in range(4_000):
        match chance.choices(range(6), weights=(8, 8, 1, 1, 20, 0.3))[0]:
            case 0:
                life.arrive(
                    prompt=chance.randint(1, 30),
                    answer=chance.choice((4, 7, 7, 7, 15)),
                    max_tokens=None,
                    starts=True,
                    tenant=chance.choice(("red", "blue")),
                    priority=0,
                )
            case 1 if life.ended:
                life.go_on(which=chance.randint(0, 99), more=chance.randint(1, 4))
            case 2 if life.prepared or life.live:
                life.cancel(which=chance.randint(0, 99))
            case 3:
                life.wait(seconds=1)
            case 5 if life.scheduler.counts().running > 1:
                life.break_a_batch()
            case _:
                life.step(times=chance.randint(1, 4))
        life.cells_are_reserved_before_they_are_used()
    life.teardown()
    counts = life.scheduler.counts()
    assert counts.done.preemptions > 0
    assert counts.done.tokens_reused > (1_000 if kind.shares else 100)
    assert life.decoder.restored > 0
    assert (counts.done.drafts_kept > 0) == kind.shares
