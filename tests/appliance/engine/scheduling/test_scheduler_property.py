"""Whatever arrives and whoever leaves, the promises of the scheduler hold.

The fake decoder fails the test when cells, batch, outputs or positions break.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.errors import ContextLengthError, OverloadedError
from tests.support.fake_decoder import FakeDecoder

LIMITS = Limits(
    context_tokens=40,
    cells=60,
    sequences=3,
    batch_tokens=8,
    queued_requests=3,
    queue_timeout_s=50,
    default_max_tokens=12,
)


class Requests(RuleBasedStateMachine):
    """Random arrivals, starts, cancellations, expiries, steps and broken batches."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = FakeDecoder(cells=60, sequences=3, batch_tokens=8)
        self.scheduler = Scheduler(self.decoder, limits=LIMITS)
        self.now_s = 0.0
        self.number = 0
        self.prepared: list[str] = []
        self.live: list[str] = []
        self.answers: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    @rule(
        prompt=st.integers(1, 42),
        answer=st.integers(1, 20),
        max_tokens=st.none() | st.integers(1, 20),
        starts=st.booleans(),
    )
    def arrive(
        self, *, prompt: int, answer: int, max_tokens: int | None, starts: bool
    ) -> None:
        self.number += 1
        name = f"r{self.number}"
        try:
            max_new = self.scheduler.prepare(
                name,
                prompt=(answer,) + (1,) * (prompt - 1),
                sampling=Sampling(max_tokens=max_tokens),
                now_s=self.now_s,
            )
        except OverloadedError:
            assert len(self.prepared) + len(self.live) == LIMITS.places
            return
        except ContextLengthError:
            assert prompt + (max_tokens or 1) > LIMITS.context_tokens
            return
        self.answers[name] = "abcdefghijklmnopqrstuvwxyz"[: min(answer, max_new)]
        self.texts[name] = ""
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

    def once(self) -> None:
        for progress in self.scheduler.step():
            name = progress.request_id
            assert name in self.live, "a word from a request that has ended"
            self.texts[name] += progress.text
            if progress.finish_reason is not None:
                assert self.texts[name] == self.answers[name]
                self.forget(name)

    def forget(self, name: str) -> None:
        for names in (self.prepared, self.live):
            if name in names:
                names.remove(name)

    @invariant()
    def cells_are_reserved_before_they_are_used(self) -> None:
        counts = self.scheduler.counts()
        assert self.decoder.used == counts.cells_used
        assert counts.cells_used <= counts.cells_reserved <= LIMITS.cells
        assert counts.prepared == len(self.prepared)
        assert counts.waiting + counts.running == len(self.live)
        assert counts.running == len(self.decoder.held)

    def teardown(self) -> None:
        """Everything that was started ends, within as many steps as it has tokens."""
        for _ in range(LIMITS.places * LIMITS.context_tokens):
            if not self.scheduler.busy:
                break
            self.once()
        assert not self.live, "a request starves"
        assert self.scheduler.counts().cells_reserved == 0


TestRequests = Requests.TestCase
TestRequests.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None
)
