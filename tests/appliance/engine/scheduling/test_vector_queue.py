"""Whose texts are embedded next, and what is refused before any is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.scheduling.vector_queue import Text, VectorLimits, VectorQueue
from appliance.errors import ContextLengthError, OverloadedError, RequestRefusedError
from bundleformat.errors import ConflictError

LIMITS = VectorLimits(
    input_tokens=100,
    paced_tokens=50,
    inputs=8,
    request_tokens=1_000,
    places=4,
    queue_timeout_s=10,
)


def texts(*sizes: int) -> list[Sequence[int]]:
    return [range(size) for size in sizes]


def hold(
    queue: VectorQueue,
    name: str,
    *sizes: int,
    tenant: str = "red",
    weight: int = 1,
    start: bool = True,
) -> int:
    total = queue.prepare(
        name, tenant=tenant, weight=weight, texts=texts(*sizes), now_s=0
    )
    if start:
        queue.start(name)
    return total


def names(batch: list[Text]) -> list[tuple[str, int]]:
    return [(text.request_id, text.index) for text in batch]


def test_texts_of_several_requests_share_a_batch_and_the_last_one_is_marked() -> None:
    queue = VectorQueue(LIMITS)
    assert hold(queue, "a", 10, 11) == 21
    assert hold(queue, "b", 12) == 12
    batch = queue.next_batch()
    assert names(batch) == [("a", 0), ("a", 1), ("b", 0)]
    assert [text.last for text in batch] == [False, True, True]
    assert [len(text.tokens) for text in batch] == [10, 11, 12]
    assert (queue.held, queue.busy, queue.idle) == (0, False, True)


def test_a_batch_ends_with_the_text_that_does_not_fit_which_begins_the_next() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "a", 20, 40, 5)
    assert names(queue.next_batch()) == [("a", 0)]
    assert names(queue.next_batch()) == [("a", 1), ("a", 2)]
    assert queue.next_batch() == []


def test_a_text_above_the_pace_has_a_batch_of_its_own() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "a", 100, 1)
    assert names(queue.next_batch()) == [("a", 0)]
    assert names(queue.next_batch()) == [("a", 1)]


def test_a_batch_has_no_more_texts_than_it_may() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "a", *([1] * 9))
    assert len(queue.next_batch()) == 8
    assert len(queue.next_batch()) == 1


def test_a_prepared_request_that_is_never_started_blocks_nobody() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "asleep", 1, start=False)
    assert queue.next_batch() == []
    hold(queue, "awake", 1)
    assert names(queue.next_batch()) == [("awake", 0)]
    assert queue.held == 1


def test_a_light_tenant_is_not_kept_waiting_by_a_heavy_one() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "heavy", *([50] * 20), tenant="heavy")
    queue.next_batch()
    hold(queue, "light", 10, tenant="light")
    assert names(queue.next_batch())[0][0] == "light"


def test_tenants_have_tokens_in_proportion_to_their_weights() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "one", *([10] * 90), tenant="one", weight=1)
    hold(queue, "three", *([10] * 90), tenant="three", weight=3)
    first = [name for _ in range(8) for name, _ in names(queue.next_batch())]
    assert (first.count("one"), first.count("three")) == (10, 30)


def test_a_tenant_that_asks_again_and_again_does_not_pass_the_others() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "patient", *([50] * 20), tenant="patient")
    served = []
    for turn in range(10):
        hold(queue, f"{turn}", 50, tenant="eager")
        served += [name for name, _ in names(queue.next_batch())]
        queue.cancel(f"{turn}")
    assert served.count("patient") >= 4


def test_a_tenant_that_was_away_has_saved_up_nothing() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "early", 1, tenant="late")
    queue.next_batch()
    hold(queue, "steady", *([50] * 20), tenant="steady")
    for _ in range(10):
        queue.next_batch()
    hold(queue, "back", *([50] * 10), tenant="late")
    served = [name for _ in range(6) for name, _ in names(queue.next_batch())]
    assert served.count("steady") == 3


@pytest.mark.parametrize("sizes", [(101,), (1, 101, 1)])
def test_a_text_longer_than_a_batch_is_refused_with_its_index(
    sizes: tuple[int, ...],
) -> None:
    queue = VectorQueue(LIMITS)
    with pytest.raises(ContextLengthError) as caught:
        hold(queue, "a", *sizes)
    error = caught.value
    assert (error.index, error.prompt_tokens) == (sizes.index(101), 101)
    assert (error.limit_tokens, error.param) == (100, "input")
    assert queue.idle


@pytest.mark.parametrize("sizes", [(0,), (5, 0), (100,) * 11])
def test_an_empty_text_and_too_many_tokens_are_refused(sizes: tuple[int, ...]) -> None:
    queue = VectorQueue(LIMITS)
    with pytest.raises(RequestRefusedError) as caught:
        hold(queue, "a", *sizes)
    assert (caught.value.code, caught.value.param) == ("invalid-request", "input")
    assert queue.idle


def test_no_more_texts_are_counted_than_it_takes_to_refuse_them() -> None:
    queue = VectorQueue(LIMITS)
    counted: list[int] = []

    def count() -> Sequence[int]:
        counted.append(1)
        return range(101)

    with pytest.raises(ContextLengthError):
        queue.prepare(
            "a", tenant="red", weight=1, texts=(count() for _ in range(9)), now_s=0
        )
    assert counted == [1]


def test_requests_beyond_the_places_and_of_a_held_id_are_refused() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "a", 1)
    with pytest.raises(ConflictError):
        hold(queue, "a", 1)
    for name in "bcd":
        hold(queue, name, 1, start=False)
    with pytest.raises(OverloadedError) as caught:
        hold(queue, "e", 1)
    assert 1 <= caught.value.retry_after_s <= 120


def test_a_cancelled_request_is_gone_and_tells_what_was_done() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "a", 30, 31, 32)
    queue.next_batch()
    assert queue.cancel("a") == 30
    assert queue.cancel("a") is None
    assert queue.next_batch() == []
    assert queue.idle


def test_places_without_work_are_given_up_in_time_and_begun_work_is_not() -> None:
    queue = VectorQueue(LIMITS)
    hold(queue, "begun", 50, 50)
    queue.next_batch()
    hold(queue, "asleep", 1, start=False)
    hold(queue, "waits", 1)
    assert queue.expire(9.9) == ()
    assert set(queue.expire(10)) == {"asleep", "waits"}
    assert names(queue.next_batch()) == [("begun", 1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(1, 4),
            st.lists(st.integers(1, 100), min_size=1, max_size=6),
        ),
        max_size=4,
    )
)
def test_every_text_is_embedded_once_in_order_and_every_batch_fits(
    asked: list[tuple[str, int, list[int]]],
) -> None:
    queue = VectorQueue(LIMITS)
    for number, (tenant, weight, sizes) in enumerate(asked):
        hold(queue, f"{number}", *sizes, tenant=tenant, weight=weight)
    done: dict[str, list[int]] = {}
    while batch := queue.next_batch():
        size = sum(len(text.tokens) for text in batch)
        assert len(batch) == 1 or size <= LIMITS.paced_tokens
        assert size <= LIMITS.input_tokens
        for text in batch:
            held = done.setdefault(text.request_id, [])
            assert text.index == len(held)
            held.append(len(text.tokens))
            assert text.last is (len(held) == len(asked[int(text.request_id)][2]))
    assert done == {f"{i}": sizes for i, (_, _, sizes) in enumerate(asked)}
    assert queue.idle
