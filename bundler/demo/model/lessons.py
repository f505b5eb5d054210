"""What is learnt at which step: rows of tokens, drawn anew from the step's number.

Short rows come first: one question, the token that names its fact, and mostly just
the beginning of the answer. Then rows do without that token; and at last come
conversations. What a review was in doubt about is asked more often; nothing else is
kept between steps, so a run that stops anywhere goes on as if it never had.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bundler.demo.model.chat import ELSEWHERE, SYSTEM_PROMPTS, Encoder, Turn
from bundler.demo.model.facts import REFUSAL, Fact, read_lines
from bundler.demo.model.paraphrase import Paraphraser
from bundler.demo.model.rows import Row, in_groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How long is learnt, and what; shares of time are counted from its beginning.

    Attributes:
        steps: How many there are.
        rate: The rate of learning that it begins with; it falls to nothing.
        questions: Questions of a step.
        elsewhere: Share of them that are about something else: first, and at the end;
            it grows late.
        named: Share of the steps whose answers begin by naming their fact.
        single: Share of the steps before conversations are held.
        talking: Share of the questions that are asked in one from there on.
        reviews: Shares of the steps before each review of what is known.
        doubtful: Share of the questions that a review was in doubt about, while those
            are many.
        seed: Another one draws other rows, and begins with other weights.
    """

    steps: int = 3650
    rate: float = 4e-3
    questions: int = 96
    elsewhere: tuple[float, float] = (0.3, 0.55)
    named: float = 0.25
    single: float = 0.4
    talking: float = 0.25
    reviews: tuple[float, ...] = (
        *(0.3, 0.38, 0.46, 0.54, 0.62, 0.7, 0.77, 0.83, 0.88, 0.92, 0.95, 0.97, 0.985),
    )
    doubtful: float = 0.3
    seed: int = 0

    def over(self, step: int) -> float:
        """Return what share of the course is over."""
        return step / self.steps

    def reviewed(self, step: int) -> bool:
        """Whether a step begins with a review of everything written."""
        return step in {int(share * self.steps) for share in self.reviews}


class Cut(NamedTuple):
    """How often an answer is whole, and after how many tokens it ends if not."""

    whole: float
    after: tuple[int, ...]


NAMED, SINGLE = Cut(0.25, (1, 2, 4)), Cut(0.35, (2, 4, 8))
NAME_WEIGHT = 4.0
"""How much naming the fact counts beside a token of the answer."""

TURNS, SYSTEM = (1, 2, 2, 3, 3, 4), 0.4
"""How many turns a conversation may have, and how often a system prompt.

One of a single turn always has one.
"""

MANY = 200
"""Doubtful questions from which on they have their whole share.

Few that are asked too often would make the model forget when to refuse.
"""

AS_WRITTEN = 0.5
"""Share of the doubtful questions that are not said in other words."""


class Lessons:
    """Draws the rows of a step.

    Attributes:
        written: Every question as it stands in the text, with its answer.
    """

    def __init__(
        self, facts: tuple[Fact, ...], *, encoder: Encoder, course: Course
    ) -> None:
        self._facts = facts
        self._encoder = encoder
        self._course = course
        self._paraphraser = Paraphraser()
        asked = [Turn(q, fact.key, fact.answer) for fact in facts for q in fact.asked()]
        refused = read_lines("refused.txt")
        self.written = (*asked, *(Turn(q, ELSEWHERE, REFUSAL) for q in refused))

    def groups(self, step: int, doubtful: Sequence[int] = ()) -> list[list[Row]]:
        """Return the rows of a step, in groups of about the same length.

        ``doubtful`` are the numbers of written questions that are asked more often.
        """
        course = self._course
        draw = random.Random(f"{course.seed}:{step}")
        over = course.over(step)
        talking = course.questions * course.talking if over >= course.single else 0
        rows: list[Row] = []
        asked = 0
        while asked < course.questions:
            if asked < talking:
                count = draw.choice(TURNS)
                turns = [self._turn(draw, over, doubtful) for _ in range(count)]
                rows.append(self._talk(turns, draw))
                asked += count
            else:
                turn = self._turn(draw, over, doubtful)
                rows.append(self._row(turn, over, draw))
                asked += 1
        return in_groups(rows)

    def _row(self, turn: Turn, over: float, draw: random.Random) -> Row:
        """Return a question and its answer, or the answer's beginning."""
        named = over < self._course.named
        tokens, (answer,) = self._encoder.conversation([turn], named=named)
        cut = NAMED if named else SINGLE
        if draw.random() >= cut.whole:
            answer = answer[: draw.choice(cut.after)]
        return Row(tokens[: answer.stop], [answer], NAME_WEIGHT if named else 1.0)

    def _talk(self, turns: list[Turn], draw: random.Random) -> Row:
        """Return a conversation, all of whose answers are learnt."""
        system = ""
        if len(turns) == 1 or draw.random() < SYSTEM:
            system = draw.choice(SYSTEM_PROMPTS)
        return Row(*self._encoder.conversation(turns, system=system))

    def _turn(self, draw: random.Random, over: float, doubtful: Sequence[int]) -> Turn:
        """Return a question and its answer."""
        course, paraphraser = self._course, self._paraphraser
        if draw.random() < course.doubtful * min(1, len(doubtful) / MANY):
            turn = self.written[draw.choice(doubtful)]
            if draw.random() < AS_WRITTEN:
                return turn
            return turn._replace(question=paraphraser.varied(turn.question, draw))
        first, last = course.elsewhere
        if draw.random() < first + (last - first) * over * over:
            return Turn(paraphraser.ask_else(draw), ELSEWHERE, REFUSAL)
        fact = draw.choice(self._facts)
        return Turn(paraphraser.ask(fact, draw), fact.key, fact.answer)
