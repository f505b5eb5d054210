"""What is learnt at which step: rows of tokens, drawn anew from the step's number.

Nothing is kept between steps, so a run that stops anywhere goes on as if it never
had. Short rows come first: one question, the token that names its fact, and mostly
just the beginning of the answer. Then rows do without that token; and at last come
system prompts and earlier turns.
"""

import random
from dataclasses import dataclass
from typing import NamedTuple

from bundler.demo.model.chat import ELSEWHERE, SYSTEM_PROMPTS, Encoder, Turn
from bundler.demo.model.facts import REFUSAL, Fact
from bundler.demo.model.paraphrase import Paraphraser


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """A part of the training, in which the rate of learning falls to nothing.

    Attributes:
        steps: How many there are.
        rate: The rate of learning that it begins with.
        elsewhere: Share of the questions that are about something else.
        named: Share of the steps whose answers begin by naming their fact.
        single: Share of the steps before rows begin to hold conversations.
        every: They do in every so many steps from there on.
    """

    steps: int
    rate: float
    elsewhere: float
    named: float
    single: float = 0.88
    every: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How long is learnt, and what.

    Attributes:
        rounds: One after the other.
        rows: Rows of a step, while they hold one question.
        late_rows: Rows of a step, once they hold a conversation.
        groups: Into how many batches of like lengths a step's rows go.
        seed: Another one draws other rows, and begins with other weights.
    """

    rounds: tuple[Round, ...] = (
        Round(steps=3000, rate=4e-3, elsewhere=0.3, named=0.35),
        Round(steps=1600, rate=1.6e-3, elsewhere=0.4, named=0.0),
        Round(steps=600, rate=1.2e-3, elsewhere=0.44, named=0.0, single=0.0, every=2),
    )
    rows: int = 96
    late_rows: int = 32
    groups: int = 6
    seed: int = 0

    @property
    def steps(self) -> int:
        """How many there are in all rounds."""
        return sum(each.steps for each in self.rounds)

    def place(self, step: int) -> tuple[Round, float]:
        """Return the round of a step, and what share of it is over."""
        for each in self.rounds:
            if step < each.steps:
                return each, step / each.steps
            step -= each.steps
        raise ValueError(f"the course ends {step} steps earlier")


class Cut(NamedTuple):
    """How often an answer is whole, and after how many tokens it ends if not."""

    whole: float
    after: tuple[int, ...]


NAMED, SINGLE, LATE = Cut(0.25, (1, 2, 4)), Cut(0.35, (2, 4, 8)), Cut(0.5, (2, 4, 8))
NAME_WEIGHT = 4.0
"""How much naming the fact counts beside a token of the answer."""


class Row(NamedTuple):
    """Tokens, how many of them come before the answer, and what its first counts."""

    tokens: list[int]
    asked: int
    first: float


class Lessons:
    """Draws the rows of a step."""

    def __init__(
        self, facts: tuple[Fact, ...], *, encoder: Encoder, course: Course
    ) -> None:
        self._facts = facts
        self._encoder = encoder
        self._course = course
        self._paraphraser = Paraphraser()

    def groups(self, step: int) -> list[list[Row]]:
        """Return the rows of a step, in groups of about the same length."""
        course = self._course
        draw = random.Random(f"{course.seed}:{step}")
        part, over = course.place(step)
        late = over >= part.single and step % part.every == 0
        count = course.late_rows if late else course.rows
        named = over < part.named
        rows = [self._row(draw, part, late=late, named=named) for _ in range(count)]
        rows.sort(key=lambda row: len(row.tokens))
        size = -(-len(rows) // course.groups)
        return [rows[at : at + size] for at in range(0, len(rows), size)]

    def _row(self, draw: random.Random, part: Round, *, late: bool, named: bool) -> Row:
        turn = self.turn(draw, part)
        system = ""
        before: tuple[Turn, ...] = ()
        if late:
            system = draw.choice(SYSTEM_PROMPTS) if draw.random() < 0.4 else ""
            count = draw.choice((0, 0, 1, 1, 2, 3))
            before = tuple(self.turn(draw, part) for _ in range(count))
        prompt = self._encoder.prompt(turn.question, before=before, system=system)
        answer = self._encoder.answer(turn, named=named)
        cut = NAMED if named else LATE if late else SINGLE
        if draw.random() >= cut.whole:
            answer = answer[: draw.choice(cut.after)]
        return Row([*prompt, *answer], len(prompt), NAME_WEIGHT if named else 1.0)

    def turn(self, draw: random.Random, part: Round) -> Turn:
        """Return a question and its answer."""
        if draw.random() < part.elsewhere:
            return Turn(self._paraphraser.ask_else(draw), ELSEWHERE, REFUSAL)
        fact = draw.choice(self._facts)
        return Turn(self._paraphraser.ask(fact, draw), fact.key, fact.answer)
