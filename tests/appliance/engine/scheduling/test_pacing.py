"""Prompts get what the pace of answers leaves, and always something."""

import math

from appliance.engine.scheduling.pacing import (
    LEAST_PROMPT_TOKENS,
    PROMPT_SHARE,
    TILE_TOKENS,
    Pace,
)


def pace(*, target_s: float = 0.1, batch_tokens: int = 512, token_s: float) -> Pace:
    return Pace(
        target_s=target_s, alone_s=0.5, batch_tokens=batch_tokens, token_s=token_s
    )


def test_without_answers_a_step_may_take_longer() -> None:
    assert pace(token_s=0.001).room(rows=0) == 500
    assert pace(token_s=0.001).room(rows=10) == 90


def test_a_step_may_take_twice_as_long_while_more_wait_than_are_answered() -> None:
    rooms = [pace(token_s=0.001).room(rows=10, prompts=n) for n in (1, 10, 11, 90)]
    assert rooms == [90, 90, 190, 190]


def test_a_prompt_advances_however_slow_the_host_is() -> None:
    assert pace(token_s=60).room(rows=4) == LEAST_PROMPT_TOKENS
    assert pace(token_s=60).room(rows=0) == LEAST_PROMPT_TOKENS


def test_prompts_have_their_share_where_answers_take_the_whole_step() -> None:
    slow = pace(target_s=0.1, token_s=0.001)
    for _ in range(100):
        slow.observe(rows=8, prompt_tokens=0, took_s=0.2)
    share = PROMPT_SHARE * 200
    assert share - 50 <= slow.room(rows=8) <= share + 50


def test_a_batch_is_never_overfull() -> None:
    assert pace(token_s=1e-9).room(rows=12) == 500
    assert pace(token_s=0.0).room(rows=0) == 512
    assert pace(token_s=60, batch_tokens=32).room(rows=20) == 12


def test_the_chunk_follows_the_host() -> None:
    learner = pace(token_s=0.01)
    before = learner.room(rows=4)
    for _ in range(50):
        learner.observe(rows=4, prompt_tokens=100, took_s=0.04)
        learner.observe(rows=4, prompt_tokens=0, took_s=0.02)
    assert learner.room(rows=4) > 10 * before
    for _ in range(50):
        learner.observe(rows=4, prompt_tokens=100, took_s=4)
    assert learner.room(rows=4) == LEAST_PROMPT_TOKENS


def test_predicted_steps_meet_the_target() -> None:
    """A host of fixed speed, which the pace does not know at first."""
    learner = pace(target_s=0.15, token_s=0.02)
    took = []
    for step in range(200):
        room = learner.room(rows=8) if step % 3 else 0
        took_s = 0.02 + 8 * 0.004 + room * 0.002
        learner.observe(rows=8, prompt_tokens=room, took_s=took_s)
        took.append(took_s)
    assert max(took[50:]) < 1.1 * 0.15
    assert max(took[50:]) > 0.8 * 0.15


def test_a_step_of_one_and_of_many_answers_is_predicted() -> None:
    learner = pace(token_s=0.002)
    for _ in range(100):
        learner.observe(rows=1, prompt_tokens=0, took_s=0.021)
        learner.observe(rows=8, prompt_tokens=0, took_s=0.028)
    assert math.isclose(learner.answers_s(1), 0.021, rel_tol=0.05)
    assert math.isclose(learner.answers_s(8), 0.028, rel_tol=0.05)


def far_into_a_prompt(tokens: int) -> float:
    """What attention far into a prompt takes where rows go one by one, or by 64."""
    return tokens * (0.017 if tokens >= TILE_TOKENS else 0.050)


def test_a_whole_tile_is_taken_where_few_tokens_take_as_long() -> None:
    learner = pace(target_s=0.4, token_s=0.01)
    rooms = []
    for _ in range(60):
        room = learner.room(rows=8)
        learner.observe(rows=8, prompt_tokens=room, took_s=far_into_a_prompt(room))
        rooms.append(room)
    assert rooms.count(TILE_TOKENS) > 40
    # Among short prompts again, steps are as short as they should be.
    for _ in range(100):
        room = learner.room(rows=8)
        learner.observe(rows=8, prompt_tokens=room, took_s=room * 0.010)
    assert room * 0.010 < 0.45


def test_no_tile_is_taken_that_would_take_much_longer() -> None:
    learner = pace(target_s=0.1, token_s=1.0)
    for _ in range(20):
        learner.observe(rows=1, prompt_tokens=LEAST_PROMPT_TOKENS, took_s=32)
        learner.observe(rows=1, prompt_tokens=TILE_TOKENS, took_s=70)
    assert learner.room(rows=1) == LEAST_PROMPT_TOKENS
