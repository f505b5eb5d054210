"""What the demo model is shown: questions in many words, turns as the template's."""

import random
import re
from itertools import pairwise
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from bundler.demo.model.chat import ELSEWHERE, END, ROLES, TEMPLATE, Encoder, Turn
from bundler.demo.model.facts import REFUSAL, read_facts, read_lines
from bundler.demo.model.lessons import MANY, Course, Lessons
from bundler.demo.model.paraphrase import Paraphraser
from bundler.demo.model.rows import Row

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


def lessons(*, named: float = 0, single: float = 1, **changes: Any) -> Lessons:
    course = Course(steps=10, named=named, single=single, **changes)
    return Lessons(FACTS, encoder=Encoder(Letters(), KEYS), course=course)


def rows_of(drawn: Lessons, step: int, doubtful: tuple[int, ...] = ()) -> list[Row]:
    return [row for group in drawn.groups(step, doubtful) for row in group]


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
    said = [*tokenizer.seen("Yes."), tokenizer.token_to_id(END)]
    first = tokenizer.get_vocab_size()
    assert encoder.answer(turn) == said
    assert encoder.answer(turn, named=True) == [first + 1, *said]
    assert encoder.answer(turn._replace(key=ELSEWHERE), named=True)[0] == first
    assert encoder.tokens == first + 1 + len(KEYS)


def test_a_conversation_tells_where_its_answers_stand() -> None:
    encoder = Encoder(Letters(), KEYS)
    turns = [Turn("What?", KEYS[0], "That."), Turn("So?", KEYS[1], "This.")]
    tokens, answers = encoder.conversation(turns, system="Be kind.")
    said = [tokens[answer.start : answer.stop] for answer in answers]
    assert said == [encoder.answer(turn) for turn in turns]
    before = encoder.prompt("So?", before=turns[:1], system="Be kind.")
    assert tokens[: answers[-1].start] == before
    assert tokens[answers[-1].stop :] == []


def test_facts_are_named_early_and_not_later() -> None:
    def named(step: int) -> set[bool]:
        rows = rows_of(lessons(named=0.5), step)
        return {row.tokens[row.answers[0].start] >= 2**20 for row in rows}

    assert named(4) == {True}
    assert [named(step) for step in (5, 9)] == [{False}] * 2


def test_a_step_has_the_same_rows_whenever_it_is_drawn() -> None:
    assert lessons().groups(3) == lessons().groups(3)
    assert lessons().groups(3) != lessons().groups(4)
    assert lessons(seed=1).groups(3) != lessons().groups(3)


def test_a_row_is_not_much_longer_than_the_first_of_its_group() -> None:
    groups = lessons(questions=60).groups(0)
    lengths = [[len(row.tokens) for row in group] for group in groups]
    assert sum(map(len, lengths)) == 60
    assert all(max(each) <= 1.2 * min(each) + 1 for each in lengths)
    for shorter, longer in pairwise(lengths):
        assert max(shorter) < min(longer)


def test_conversations_come_late_and_have_their_share() -> None:
    tokenizer = Letters()
    encoder = Encoder(tokenizer, KEYS)
    course = Course(steps=10, named=0, single=0.5, questions=60, talking=0.5)
    drawn = Lessons(FACTS, encoder=encoder, course=course)
    user, system = (tokenizer.token_to_id(ROLES[role]) for role in ("user", "system"))

    def turns(row: Row) -> int:
        assert len(row.answers) == row.tokens.count(user)
        return len(row.answers)

    early, late = rows_of(drawn, 4), rows_of(drawn, 5)
    assert [row for row in early if turns(row) > 1 or system in row.tokens] == []
    talks = [row for row in late if turns(row) > 1 or system in row.tokens]
    assert 30 <= sum(map(turns, talks)) < 34
    assert {turns(row) for row in talks} <= {1, 2, 3, 4}
    assert 60 <= sum(map(turns, late)) < 64


def test_what_is_in_doubt_is_asked_more_often_while_it_is_much() -> None:
    drawn = lessons(doubtful=0.5, questions=60)
    encoder = Encoder(Letters(), KEYS)
    question = encoder.prompt(drawn.written[7].question)

    def asked(doubtful: tuple[int, ...]) -> int:
        rows = [row for step in range(10) for row in rows_of(drawn, step, doubtful)]
        return sum(row.tokens[: row.answers[0].start] == question for row in rows)

    assert asked(()) < 5
    assert 100 < asked((7,) * MANY) < 200
    assert asked((7,) * (2 * MANY)) == asked((7,) * MANY)
    assert 10 < asked((7,) * (MANY // 5)) < 60


def test_every_written_question_is_known_with_its_answer() -> None:
    turns = lessons().written
    assert len(turns) == sum(len(fact.asked()) for fact in FACTS) + len(
        read_lines("refused.txt")
    )
    assert turns[0] == Turn(FACTS[0].questions[0], KEYS[0], FACTS[0].answer)
    assert turns[-1].answer == REFUSAL


def test_reviews_come_when_their_shares_are_over() -> None:
    course = Course(steps=100, reviews=(0.3, 0.8, 0.99))
    assert [step for step in range(100) if course.reviewed(step)] == [30, 80, 99]
