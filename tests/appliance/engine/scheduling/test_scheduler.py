"""One batch at a time, inside reservations that always suffice."""

import dataclasses
import math

import pytest

from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.scheduler import Progress, Scheduler
from appliance.engine.scheduling.waiting import MOST_PASSES
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
        shares: bool = True,
        spare: int = 0,
        drafts: int = 0,
        alphabet: int = 26,
        public: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        self.limits = Limits(
            context_tokens=100,
            cells=cells,
            sequences=sequences,
            batch_tokens=batch_tokens,
            queued_requests=queued,
            queue_timeout_s=10,
            default_max_tokens=20,
            spare_sequences=spare,
            cached_sequences=4 if shares else 0,
            draft_tokens=drafts,
        )
        self.decoder = FakeDecoder(
            cells=cells,
            sequences=self.limits.resident_sequences,
            batch_tokens=batch_tokens,
            shares=shares,
            alphabet=alphabet,
        )
        self.decoder.outputs = self.limits.outputs
        pace = Pace(
            target_s=math.inf, alone_s=math.inf, batch_tokens=batch_tokens, token_s=0
        )
        # A step takes the same time however many rows it has: guesses pay.
        pace.observe(rows=1, prompt_tokens=0, took_s=1)
        self.scheduler = Scheduler(
            self.decoder, limits=self.limits, pace=pace, public=public
        )
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
        tenant: str = "t",
        priority: int = 0,
    ) -> None:
        self.scheduler.prepare(
            name,
            prompt=(answer,) + (1,) * (prompt - 1),
            sampling=Sampling(max_tokens=max_tokens, stop=stop),
            now_s=now_s,
            tenant=tenant,
            priority=priority,
        )

    def run(
        self,
        name: str,
        *,
        prompt: int = 3,
        answer: int = 5,
        max_tokens: int | None = None,
        stop: tuple[str, ...] = (),
        tenant: str = "t",
    ) -> None:
        self.prepare(
            name,
            prompt=prompt,
            answer=answer,
            max_tokens=max_tokens,
            stop=stop,
            tenant=tenant,
        )
        self.scheduler.start(name)

    def ask(self, name: str, prompt: tuple[int, ...], *, tenant: str = "t") -> None:
        self.scheduler.prepare(
            name, prompt=prompt, sampling=Sampling(), now_s=0, tenant=tenant
        )
        self.scheduler.start(name)

    def step(self, times: int = 1, *, now_s: float = 0) -> None:
        for _ in range(times):
            for progress in self.scheduler.step(now_s):
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
    assert bench.decoder.open_samplers == {}
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
    assert (counts.running, counts.waiting, counts.done.preemptions) == (2, 1, 1)
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


def test_an_interrupted_batch_changes_nothing_but_its_count() -> None:
    bench = Bench()
    for name in "ab":
        bench.run(name, answer=8)
    bench.step(3)
    before, said = bench.scheduler.counts(), dict(bench.texts)
    bench.decoder.interrupt()
    bench.step()
    assert not bench.scheduler.took(5.0)
    after = bench.scheduler.counts()
    assert after.done == dataclasses.replace(before.done, interruptions=1)
    assert (after.cells_used, bench.texts) == (before.cells_used, said)
    bench.finish()
    assert bench.texts == dict.fromkeys("ab", "abcdefgh")


def beginning(answer: int, *rest: int, size: int = 40) -> tuple[int, ...]:
    """A prompt whose first ``size`` tokens are those of every other such prompt."""
    return (answer, *(2,) * (size - 1), *rest)


def test_callers_with_one_beginning_compute_it_once() -> None:
    bench = Bench(cells=400, sequences=8, batch_tokens=64)
    for number in range(8):
        bench.ask(f"r{number}", beginning(5, 100 + number, 9))
    bench.finish()
    assert bench.texts == dict.fromkeys((f"r{i}" for i in range(8)), "abcde")
    counts = bench.scheduler.counts()
    assert counts.done.tokens_prefilled == 40 + 8 * 2
    assert counts.done.tokens_reused == 7 * 40
    assert {end.cached_tokens for end in bench.ends.values()} == {0, 40}


def test_the_next_turn_of_a_conversation_computes_only_what_is_new() -> None:
    bench = Bench()
    first = beginning(3, size=20)
    bench.ask("first", first)
    bench.finish()
    bench.ask("next", (*first, *b"abc", 50, 51))
    bench.finish()
    assert bench.ends["next"].cached_tokens == 23
    assert bench.scheduler.counts().done.tokens_prefilled == 20 + 2


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    bench = Bench()
    for name in ("first", "again"):
        bench.ask(name, beginning(3, size=20))
        bench.finish()
    assert bench.ends["again"].cached_tokens == 19
    assert bench.texts["again"] == "abc"


def test_no_tenant_finds_what_another_has_asked() -> None:
    bench = Bench()
    bench.ask("red", beginning(3, size=20), tenant="red")
    bench.finish()
    bench.ask("blue", beginning(3, size=20), tenant="blue")
    bench.finish()
    assert bench.ends["blue"].cached_tokens == 0
    assert bench.scheduler.counts().done.tokens_reused == 0


def test_a_declared_beginning_is_shared_by_all_tenants_and_nothing_behind_it() -> None:
    public = beginning(3, size=20)
    bench = Bench(public=(public,))
    bench.ask("red", (*public, 60, 61, 62, 63), tenant="red")
    bench.finish()
    bench.ask("blue", (*public, 60, 61, 62, 63), tenant="blue")
    bench.finish()
    assert bench.ends["blue"].cached_tokens == 20


def test_ended_sequences_give_way_to_requests() -> None:
    bench = Bench(cells=100)
    for number in range(6):
        bench.ask(f"r{number}", beginning(3, 100 + number, size=40), tenant=f"{number}")
        bench.finish()
    assert len(bench.ends) == 6
    assert bench.scheduler.counts().cells_cached <= 100


def test_the_least_recently_used_gives_way_first() -> None:
    bench = Bench(cells=100)
    for name in ("one", "two"):
        bench.ask(name, beginning(3, size=30), tenant=name)
        bench.finish()
    bench.ask("one again", beginning(3, 77, size=30), tenant="one")
    bench.finish()
    bench.ask("three", beginning(3, size=40), tenant="three")
    bench.finish()
    bench.ask("one once more", beginning(3, 78, size=30), tenant="one")
    bench.ask("two again", beginning(3, 79, size=30), tenant="two")
    bench.finish()
    assert bench.ends["one once more"].cached_tokens == 30
    assert bench.ends["two again"].cached_tokens == 0


def test_a_sequence_that_cannot_be_cut_is_continued_or_not_used() -> None:
    bench = Bench(shares=False)
    first = beginning(3, size=20)
    bench.ask("first", first)
    bench.finish()
    bench.ask("other", (*first, 70, 71))
    bench.finish()
    assert bench.ends["other"].cached_tokens == 0
    bench.ask("next", (*first, *b"abc", 50, 51))
    bench.finish()
    assert bench.ends["next"].cached_tokens == 23
    assert bench.texts["next"] == "abc"


def test_who_comes_alone_does_not_wait_for_the_many_of_another() -> None:
    bench = Bench(sequences=2, queued=8, spare=1)
    for number in range(5):
        bench.run(f"many{number}", answer=15, tenant="many")
    bench.step()
    assert bench.scheduler.counts().running == 2
    bench.run("alone", answer=2, tenant="alone")
    bench.step()
    assert bench.scheduler.counts().running == 3
    bench.finish()
    assert bench.order.index("alone") == 2


def test_the_many_do_not_keep_others_out_by_having_waited_long() -> None:
    bench = Bench(sequences=2, queued=30, spare=1)
    for number in range(25):
        bench.run(f"many{number}", answer=30, max_tokens=40, tenant="many")
    bench.step()
    for number in range(20):
        # Older by more steps of priority, and passed more often than anybody may be.
        now_s = 100.0 + number
        bench.prepare(f"alone{number}", answer=1, tenant="alone", now_s=now_s)
        bench.scheduler.start(f"alone{number}")
        bench.step(now_s=now_s)
        assert bench.scheduler.counts().running == 3, number
        while f"alone{number}" not in bench.ends:
            bench.step(now_s=now_s)


def test_what_is_kept_for_others_is_given_to_so_many_at_once_only() -> None:
    bench = Bench(sequences=2, queued=30, spare=1)
    for number in range(4):
        bench.run(f"many{number}", answer=30, max_tokens=40, tenant="many")
    bench.step()
    for name in ("one", "two"):
        bench.run(name, answer=9, tenant=name)
    bench.step()
    assert bench.scheduler.counts().running == 3
    assert bench.scheduler.counts().waiting == 3


def test_a_short_prompt_of_a_newcomer_has_every_other_step_for_itself() -> None:
    bench = Bench(sequences=4, queued=8, spare=1, batch_tokens=32)
    bench.run("writes", answer=20, tenant="many")
    bench.step()
    written = len(bench.texts["writes"])
    bench.run("short", prompt=40, answer=2, tenant="alone")
    bench.step()
    assert len(bench.texts["writes"]) == written
    assert bench.scheduler.counts().done.tokens_prefilled == 3 + 32
    bench.step()
    assert len(bench.texts["writes"]) == written + 1
    assert "short" in bench.texts


def test_a_prompt_of_a_team_that_is_being_answered_waits_for_its_share() -> None:
    bench = Bench(sequences=4, queued=8, spare=1)
    bench.run("writes", answer=20, tenant="many")
    bench.step()
    written = len(bench.texts["writes"])
    bench.run("also", prompt=40, answer=2, tenant="many")
    bench.step()
    assert len(bench.texts["writes"]) == written + 1


def test_the_lower_number_goes_first_and_waiting_makes_up_for_it() -> None:
    bench = Bench(sequences=1, queued=8)
    bench.run("runs", answer=15)
    bench.step()
    bench.prepare("batch", answer=2, priority=1)
    bench.prepare("chat", answer=2, priority=0, now_s=5)
    for name in ("batch", "chat"):
        bench.scheduler.start(name)
    bench.finish()
    assert list(bench.ends) == ["runs", "chat", "batch"]
    old = Bench(sequences=1, queued=8)
    old.run("runs", answer=15)
    old.step()
    old.prepare("batch", answer=2, priority=1)
    old.prepare("chat", answer=2, priority=0, now_s=25)
    for name in ("batch", "chat"):
        old.scheduler.start(name)
    for _ in range(100):
        old.step(now_s=30)
    assert list(old.ends) == ["runs", "batch", "chat"]


def test_small_requests_pass_a_large_one_a_bounded_number_of_times() -> None:
    bench = Bench(cells=100, sequences=2, queued=60)
    bench.run("runs", prompt=3, answer=50, max_tokens=50)
    bench.step()
    bench.run("large", prompt=60, answer=2, max_tokens=30)
    for number in range(3 * MOST_PASSES):
        bench.run(f"small{number}", prompt=3, answer=1, max_tokens=2)
    bench.finish()
    ends = list(bench.ends)
    before = ends[: ends.index("large")]
    assert sum(name.startswith("small") for name in before) >= MOST_PASSES
    assert sum(name.startswith("small") for name in before) <= MOST_PASSES + 1


def test_guesses_change_the_steps_of_an_answer_and_not_its_words() -> None:
    plain, guessing = Bench(alphabet=4), Bench(alphabet=4, drafts=4)
    for bench in (plain, guessing):
        bench.run("r", answer=19)
        bench.finish()
    assert plain.texts == guessing.texts
    assert guessing.ends["r"].completion_tokens == 20
    counts = guessing.scheduler.counts()
    assert counts.done.drafts_kept > 5
    assert (
        counts.done.steps + counts.done.drafts_kept
        == plain.scheduler.counts().done.steps
    )


def test_guesses_never_go_beyond_the_last_token() -> None:
    bench = Bench(alphabet=4, drafts=4)
    bench.run("r", answer=30, max_tokens=18)
    bench.finish()
    assert bench.ends["r"].completion_tokens == 18
    assert bench.ends["r"].finish_reason == "length"
