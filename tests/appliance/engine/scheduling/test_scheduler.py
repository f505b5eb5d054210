"""One batch at a time, inside reservations that always suffice."""

import pytest

from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.scheduler import Progress, Scheduler
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
)
from bundleformat.errors import ConflictError
from tests.support.fake_decoder import FakeDecoder


class Bench:
    """A scheduler on a fake decoder, with what it said so far."""

    def __init__(
        self,
        *,
        cells: int = 200,
        sequences: int = 4,
        batch_tokens: int = 32,
        queued: int = 4,
    ) -> None:
        self.limits = Limits(
            context_tokens=100,
            cells=cells,
            sequences=sequences,
            batch_tokens=batch_tokens,
            queued_requests=queued,
            queue_timeout_s=10,
            default_max_tokens=20,
        )
        self.decoder = FakeDecoder(
            cells=cells, sequences=sequences, batch_tokens=batch_tokens
        )
        self.scheduler = Scheduler(self.decoder, limits=self.limits)
        self.texts: dict[str, str] = {}
        self.ends: dict[str, Progress] = {}
        self.order: list[str] = []

    def prepare(
        self,
        name: str,
        *,
        prompt: int = 3,
        answer: int = 5,
        max_tokens: int | None = None,
        stop: tuple[str, ...] = (),
        now_s: float = 0,
    ) -> None:
        self.scheduler.prepare(
            name,
            prompt=(answer,) + (1,) * (prompt - 1),
            sampling=Sampling(max_tokens=max_tokens, stop=stop),
            now_s=now_s,
        )

    def run(
        self,
        name: str,
        *,
        prompt: int = 3,
        answer: int = 5,
        max_tokens: int | None = None,
        stop: tuple[str, ...] = (),
    ) -> None:
        self.prepare(
            name, prompt=prompt, answer=answer, max_tokens=max_tokens, stop=stop
        )
        self.scheduler.start(name)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            for progress in self.scheduler.step():
                name = progress.request_id
                assert name not in self.ends, "a word after the last one"
                self.texts[name] = self.texts.get(name, "") + progress.text
                if name not in self.order:
                    self.order.append(name)
                if progress.finish_reason is not None:
                    self.ends[name] = progress

    def finish(self) -> None:
        for _ in range(10_000):
            if not self.scheduler.busy:
                return
            self.step()
        raise AssertionError("a request starves")


def test_answer_ends_with_stop_at_the_end_token() -> None:
    bench = Bench()
    bench.run("r", answer=5)
    bench.finish()
    assert bench.texts["r"] == "abcde"
    assert bench.ends["r"].finish_reason == "stop"
    assert bench.ends["r"].completion_tokens == 6
    assert bench.decoder.held == {}
    assert bench.scheduler.idle


def test_answer_ends_with_length_at_its_last_token() -> None:
    bench = Bench()
    bench.run("r", answer=5, max_tokens=5)
    bench.finish()
    assert bench.texts["r"] == "abcde"
    assert bench.ends["r"].finish_reason == "length"
    assert bench.ends["r"].completion_tokens == 5


def test_answer_ends_with_stop_before_a_stop_string() -> None:
    bench = Bench()
    bench.run("r", answer=20, stop=("def",))
    bench.finish()
    assert bench.texts["r"] == "abc"
    assert bench.ends["r"].finish_reason == "stop"
    assert bench.scheduler.counts().cells_reserved == 0


def test_text_held_back_for_a_stop_string_is_shown_when_length_ends_it() -> None:
    bench = Bench()
    bench.run("r", answer=20, max_tokens=4, stop=("cdx",))
    bench.finish()
    assert bench.texts["r"] == "abcd"
    assert bench.ends["r"].finish_reason == "length"


def test_one_batch_serves_all_running_requests() -> None:
    bench = Bench()
    for name in "abcd":
        bench.run(name)
    bench.step(2)
    assert [len(batch) for batch in bench.decoder.batches] == [4, 4]
    assert [len(part.tokens) for part in bench.decoder.batches[1]] == [1, 1, 1, 1]


def test_long_prompt_shares_the_batch_with_answers() -> None:
    bench = Bench()
    bench.run("short", answer=9)
    bench.step()
    bench.run("long", prompt=70)
    bench.step(3)
    assert [len(part.tokens) for part in bench.decoder.batches[1]] == [1, 31]
    assert [part.wants_token for part in bench.decoder.batches[1]] == [True, False]
    assert bench.texts["short"] == "abcd"
    assert bench.texts["long"] == "a"


def test_oldest_prompt_gets_its_chunk_first() -> None:
    bench = Bench()
    bench.run("old", prompt=60)
    bench.run("new", prompt=20)
    bench.step(3)
    assert bench.order == ["old", "new"]


def test_request_that_was_never_started_blocks_nobody() -> None:
    bench = Bench(sequences=1, queued=1)
    bench.prepare("asleep")
    bench.run("awake")
    bench.finish()
    assert bench.ends.keys() == {"awake"}
    assert bench.scheduler.counts().prepared == 1


def test_place_beyond_running_and_queued_is_refused() -> None:
    bench = Bench(sequences=1, queued=1)
    bench.run("a")
    bench.step()
    bench.prepare("b")
    with pytest.raises(OverloadedError) as caught:
        bench.prepare("c")
    assert caught.value.code == "server-overloaded"
    assert 1 <= caught.value.retry_after_s <= 120
    bench.finish()
    bench.prepare("c")


def test_same_id_is_refused_while_it_is_held() -> None:
    bench = Bench()
    bench.run("a")
    with pytest.raises(ConflictError):
        bench.prepare("a")


def test_over_long_prompt_holds_no_place() -> None:
    bench = Bench()
    with pytest.raises(ContextLengthError) as caught:
        bench.prepare("a", prompt=100)
    assert caught.value.prompt_tokens == 100
    assert bench.scheduler.idle


def test_head_of_the_queue_waits_until_its_whole_answer_fits() -> None:
    bench = Bench(cells=50)
    bench.run("a", prompt=20, answer=4, max_tokens=20)
    bench.run("b", prompt=20, answer=4, max_tokens=20)
    bench.step()
    assert bench.scheduler.counts().running == 1
    assert bench.scheduler.counts().waiting == 1
    assert bench.scheduler.counts().cells_reserved == 40
    bench.finish()
    assert bench.order == ["a", "b"]
    assert bench.texts == {"a": "abcd", "b": "abcd"}


@pytest.mark.parametrize("steps", [0, 1, 4], ids=["waiting", "prefill", "answer"])
def test_cancel_frees_everything_at_once(steps: int) -> None:
    bench = Bench()
    bench.run("r", prompt=70, answer=20)
    bench.step(steps)
    used = bench.scheduler.cancel("r")
    assert used is not None
    assert used == (70, max(0, steps - 2))
    assert bench.decoder.held == {}
    counts = bench.scheduler.counts()
    assert (counts.cells_used, counts.cells_reserved, counts.running) == (0, 0, 0)
    assert bench.scheduler.idle
    assert bench.scheduler.cancel("r") is None


def test_place_held_too_long_expires_unless_it_runs() -> None:
    bench = Bench(sequences=1)
    bench.run("runs", answer=20)
    bench.step()
    bench.prepare("asleep", now_s=1)
    bench.prepare("waits", now_s=2)
    bench.scheduler.start("waits")
    assert bench.scheduler.expire(10.9) == ()
    assert bench.scheduler.expire(12) == ("asleep", "waits")
    assert bench.scheduler.counts().running == 1
    bench.scheduler.start("asleep")
    bench.finish()
    assert bench.ends.keys() == {"runs"}


def test_full_cache_delays_only_the_youngest_and_loses_nothing() -> None:
    bench = Bench()
    for name in "abc":
        bench.run(name, answer=8)
    bench.step(3)
    bench.decoder.full_next = 1
    bench.step()
    counts = bench.scheduler.counts()
    assert (counts.running, counts.waiting, counts.preemptions) == (2, 1, 1)
    assert bench.scheduler.expire(10**6) == ()
    bench.step()
    assert bench.scheduler.counts().waiting == 1
    bench.finish()
    assert bench.texts == dict.fromkeys("abc", "abcdefgh")
    assert {end.completion_tokens for end in bench.ends.values()} == {9}
    assert list(bench.ends) == ["a", "b", "c"]


def test_full_cache_with_one_request_is_a_broken_engine() -> None:
    bench = Bench()
    bench.run("a")
    bench.decoder.full_next = 1
    with pytest.raises(EngineUnavailableError):
        bench.step()
