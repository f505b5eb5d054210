"""The loop of a model that writes text: what waits for whom between two batches."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from appliance.engine import protocol as wire
from appliance.engine.port import Message, Sampling
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.decoder import Slice, Undone
from appliance.engine.scheduling.haste import SHORT_CHARACTERS
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.engine.worker.prompt import Prompter
from appliance.engine.worker.service import COURTESY_SHARE, Service, hasten
from appliance.engine.worker.template import ChatTemplate
from tests.support.clocks import SteppingClock
from tests.support.fake_decoder import FakeDecoder

BATCH_S = 1.0
"""What every batch of these tests takes."""
LIMITS = Limits(
    context_tokens=64,
    cells=256,
    sequences=1,
    batch_tokens=32,
    queued_requests=4,
    queue_timeout_s=10,
    default_max_tokens=8,
    spare_sequences=1,
)


class Script:
    """A channel on which orders arrive when the clock says so."""

    def __init__(self, clock: SteppingClock, *orders: tuple[float, wire.Order]) -> None:
        self._clock = clock
        self._orders = list(orders)
        self.reports: list[wire.Report] = []

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        if not self._orders:
            raise EOFError
        until_s = math.inf if wait_s is None else self._now_s() + wait_s
        if self._orders[0][0] > self._now_s():
            until_s = min(until_s, self._orders[0][0])
            self._clock.go(until_s - self._now_s())
        arrived = [order for at_s, order in self._orders if at_s <= self._now_s()]
        del self._orders[: len(arrived)]
        return arrived

    def send(self, report: wire.Report) -> None:
        self.reports.append(report)

    def hear(self, until_s: float, told: Callable[[wire.Order], bool]) -> None:
        """Let time pass; tell of orders as they arrive, until one wants no more."""
        for at_s, order in self._orders:
            if self._now_s() < at_s <= until_s:
                self._clock.go(at_s - self._now_s())
                if told(order):
                    return
        self._clock.go(until_s - self._now_s())

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9


class Letters:
    """A vocabulary of letters; every prompt asks for a long answer."""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [50 + special, *map(ord, text)]

    def begin(self, tokens: list[int]) -> list[int]:
        return tokens

    def control_texts(self) -> tuple[str, ...]:
        return ()

    def longest_token_bytes(self) -> int | None:
        return 1


class Timed(FakeDecoder):
    """A decoder whose batches take their time, and which says when they began.

    Orders that arrive meanwhile are heard, and may interrupt it.
    """

    threads = 1

    def __init__(self, clock: SteppingClock, script: Script, limits: Limits) -> None:
        super().__init__(
            cells=limits.cells,
            sequences=limits.resident_sequences,
            batch_tokens=limits.batch_tokens,
        )
        self._clock = clock
        self._script = script
        self.told: Callable[[wire.Order], None] = list[wire.Order]().append
        self.began: list[tuple[float, int]] = []
        """When each batch began, and how many sequences it held."""

    def decode(self, slices: Sequence[Slice]) -> Sequence[Sequence[int]] | Undone:
        began_s = self._clock.monotonic_ns() / 1e9
        self.began.append((began_s, len(slices)))
        self._script.hear(began_s + BATCH_S, self._told)
        return super().decode(slices)

    def _told(self, order: wire.Order) -> bool:
        self.told(order)
        return self.interrupted

    def use_threads(self, threads: int) -> None:
        self.threads = threads


def asks(name: str, *, tenant: str, text: str = "?") -> wire.Prepare:
    return wire.Prepare(
        request_id=name,
        tenant=tenant,
        messages=(Message(role="user", content=text),),
        sampling=Sampling(temperature=0.0),
    )


def batches(
    *orders: tuple[float, wire.Order], limits: Limits = LIMITS
) -> list[tuple[float, int]]:
    """Run a service until the last order has come; return what it decoded."""
    clock = SteppingClock()
    script = Script(clock, *orders)
    decoder = Timed(clock, script, limits)
    scheduler = Scheduler(decoder, limits=limits)
    decoder.told = partial(hasten, scheduler.haste)
    template = ChatTemplate("{{ messages[0]['content'] }}", bos_token="", eos_token="")
    service = Service(
        script,
        scheduler=scheduler,
        compute=decoder,
        prompter=Prompter(Letters(), template=template),
        limits=limits,
        clock=clock,
    )
    with pytest.raises(EOFError):
        service.run()
    return decoder.began


FIRST = ((0.0, asks("a", tenant="a")), (0.0, wire.Start(request_id="a")))
END = (9.0, wire.AskStats())


def test_who_gets_a_place_and_starts_soon_is_in_the_next_batch() -> None:
    start_s = BATCH_S + COURTESY_SHARE / 2
    began = batches(
        *FIRST,
        (0.5, asks("b", tenant="b")),
        (start_s, wire.Start(request_id="b")),
        END,
    )
    assert began[:3] == [
        (0.0, 1),
        (pytest.approx(start_s), 1),
        (pytest.approx(start_s + BATCH_S), 2),
    ]


def test_who_starts_late_is_waited_for_no_longer_than_a_part_of_a_batch() -> None:
    late_s = BATCH_S + 2 * COURTESY_SHARE * BATCH_S
    began = batches(
        *FIRST,
        (0.5, asks("b", tenant="b")),
        (late_s, wire.Start(request_id="b")),
        END,
    )
    assert began[:3] == [
        (0.0, 1),
        (pytest.approx(BATCH_S + COURTESY_SHARE * BATCH_S), 1),
        (pytest.approx(late_s), 1),
    ]


def test_nobody_waits_for_one_who_could_not_run_yet() -> None:
    began = batches(*FIRST, (0.5, asks("b", tenant="a")), END)
    assert began[:2] == [(0.0, 1), (BATCH_S, 1)]


def test_many_who_get_places_are_waited_for_once() -> None:
    late = BATCH_S + COURTESY_SHARE * BATCH_S / 2
    began = batches(
        *FIRST,
        (0.5, asks("b", tenant="b")),
        (late, asks("c", tenant="c")),
        END,
    )
    assert began[1][0] == pytest.approx(BATCH_S + COURTESY_SHARE * BATCH_S)


def test_a_newcomer_ends_the_batch_that_runs_and_has_the_next_one_alone() -> None:
    start_s = 2.5 + COURTESY_SHARE / 2
    began = batches(
        *FIRST,
        (2.5, asks("b", tenant="b")),
        (start_s, wire.Start(request_id="b")),
        END,
    )
    assert began[:5] == [
        (0.0, 1),
        (1.0, 1),
        (2.0, 1),
        (pytest.approx(start_s), 1),
        (pytest.approx(start_s + BATCH_S), 2),
    ]


def test_what_was_given_up_is_computed_before_anything_else_is_given_up() -> None:
    began = batches(
        *FIRST,
        (2.5, asks("b", tenant="b")),
        (2.51, wire.Cancel(request_id="b")),
        (2.7, asks("c", tenant="c")),
        (2.71, wire.Cancel(request_id="c")),
        END,
    )
    assert began[2:5] == [
        (2.0, 1),
        (pytest.approx(2.51), 1),
        (pytest.approx(3.51), 1),
    ]


def test_a_second_request_of_a_team_ends_no_batch() -> None:
    began = batches(
        *FIRST,
        (2.5, asks("b", tenant="a")),
        (3.5, wire.Start(request_id="b")),
        END,
        limits=dataclasses.replace(LIMITS, sequences=3),
    )
    waited_s = 3 + COURTESY_SHARE * BATCH_S
    assert began[2:5] == [
        (2.0, 1),
        (pytest.approx(waited_s), 1),
        (pytest.approx(waited_s + BATCH_S), 2),
    ]


def test_no_batch_is_ended_for_one_who_has_no_place() -> None:
    began = batches(
        *FIRST,
        (0.0, asks("b", tenant="b")),
        (0.0, wire.Start(request_id="b")),
        (2.5, asks("c", tenant="c")),
        (2.51, wire.Start(request_id="c")),
        END,
    )
    assert [at for at, _ in began[:4]] == [0.0, 1.0, 2.0, 3.0]


def test_no_batch_is_ended_for_the_start_of_a_long_prompt() -> None:
    long = "x" * (SHORT_CHARACTERS + 1)
    began = batches(
        *FIRST,
        (2.5, asks("c", tenant="c", text=long)),
        (3.5, wire.Start(request_id="c")),
        END,
        limits=dataclasses.replace(LIMITS, context_tokens=2048, cells=4096),
    )
    assert pytest.approx(3 + COURTESY_SHARE * BATCH_S) == began[3][0]
    assert pytest.approx(4 + COURTESY_SHARE * BATCH_S) == began[4][0]
