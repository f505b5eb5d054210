"""What the demo model is shown: questions in many words, turns as the template's."""

import random
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bundler.demo.model.chat import ELSEWHERE, SPECIAL, TEMPLATE, Encoder, Turn
from bundler.demo.model.facts import read_facts
from bundler.demo.model.lessons import Course, Lessons, Round
from bundler.demo.model.paraphrase import Paraphraser

FACTS = read_facts()
KEYS = [fact.key for fact in FACTS]
CONTROL = re.compile(r"(<\|[a-z0-9_-]+\|>)")


class Letters:
    """A tokenizer with a token for each letter, and one for each control word."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        return type("Encoding", (), {"ids": [ord(letter) for letter in text]})

    def token_to_id(self, word: str) -> int:
        return -1 - sum(word.encode())

    def get_vocab_size(self) -> int:
        return 2**20

    def seen(self, text: str) -> list[int]:
        """The tokens of a text in which control words are seen."""
        tokens = []
        for part in CONTROL.split(text):
            known = CONTROL.fullmatch(part)
            tokens += [self.token_to_id(part)] if known else [ord(c) for c in part]
        return tokens


def lessons(
    *, named: float = 0, single: float = 1, every: int = 1, **changes: Any
) -> Lessons:
    first = Round(
        steps=10, rate=1, elsewhere=0.3, named=named, single=single, every=every
    )
    rounds = (first, replace(first, steps=5))
    course = Course(rounds=rounds, **changes)
    return Lessons(FACTS, encoder=Encoder(Letters(), KEYS), course=course)


def test_the_same_draw_asks_the_same_question_and_another_asks_another() -> None:
    paraphraser = Paraphraser()

    def questions(seed: int) -> list[str]:
        draw = random.Random(seed)  # noqa: S311
        return [paraphraser.ask(fact, draw) for fact in FACTS[:20]]

    assert questions(1) == questions(1)
    assert questions(1) != questions(2)


def test_a_question_is_never_empty_and_no_frame_stays_open() -> None:
    paraphraser, draw = Paraphraser(), random.Random(3)  # noqa: S311
    asked = [paraphraser.ask(fact, draw) for fact in FACTS for _ in range(5)]
    asked += [paraphraser.ask_else(draw) for _ in range(1000)]
    assert [each for each in asked if not each.strip() or "{}" in each] == []


def test_a_prompt_is_what_the_template_renders() -> None:
    tokenizer = Letters()
    before = [Turn("What?", "bundle", "That."), Turn("So?", "channel", "This.")]
    messages = [{"role": "system", "content": "Be kind."}]
    for turn in before:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    messages.append({"role": "user", "content": "And now?"})
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(TEMPLATE).render(
        messages=messages, add_generation_prompt=True
    )
    written = Encoder(tokenizer, KEYS).prompt(
        "And now?", before=before, system="Be kind."
    )
    assert written == tokenizer.seen(text)


def test_an_answer_ends_its_turn_and_is_named_only_if_asked() -> None:
    tokenizer = Letters()
    encoder = Encoder(tokenizer, KEYS)
    turn = Turn("?", KEYS[0], "Yes.")
    said = [*tokenizer.seen("Yes."), tokenizer.token_to_id(SPECIAL[2])]
    first = tokenizer.get_vocab_size()
    assert encoder.answer(turn) == said
    assert encoder.answer(turn, named=True) == [first + 1, *said]
    assert encoder.answer(turn._replace(key=ELSEWHERE), named=True)[0] == first
    assert encoder.tokens == first + 1 + len(KEYS)


def test_facts_are_named_early_and_not_later() -> None:
    def named(step: int) -> set[bool]:
        rows = [row for group in lessons(named=0.5).groups(step) for row in group]
        return {row.tokens[row.asked] >= 2**20 for row in rows}

    assert [named(step) for step in (4, 10)] == [{True}] * 2
    assert [named(step) for step in (5, 9, 14)] == [{False}] * 3


def test_a_step_has_the_same_rows_whenever_it_is_drawn() -> None:
    assert lessons().groups(3) == lessons().groups(3)
    assert lessons().groups(3) != lessons().groups(4)
    assert lessons(seed=1).groups(3) != lessons().groups(3)


def test_rows_of_a_group_are_of_about_the_same_length() -> None:
    groups = lessons(rows=60, groups=6).groups(0)
    lengths = [[len(row.tokens) for row in group] for group in groups]
    assert sum(map(len, lengths)) == 60
    for shorter, longer in pairwise(lengths):
        assert max(shorter) <= min(longer)


def test_earlier_turns_and_system_prompts_come_late() -> None:
    tokenizer = Letters()
    turn_begin = tokenizer.token_to_id(SPECIAL[1])

    def most_turns(step: int) -> int:
        groups = lessons(single=0.5, every=2).groups(step)
        rows = [row for group in groups for row in group]
        return max(row.tokens.count(turn_begin) for row in rows)

    assert [most_turns(step) for step in (2, 3, 4)] == [2] * 3
    assert [most_turns(step) > 4 for step in (5, 6, 7, 8)] == [False, True, False, True]


def test_a_course_has_no_step_after_its_last() -> None:
    assert Course().place(Course().steps - 1)[1] < 1
    with pytest.raises(ValueError, match="ends 0 steps earlier"):
        Course().place(Course().steps)
