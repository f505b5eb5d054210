"""Many callers at once, and what they saw together."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engine.client import OK, Answer, ask
from benchmarks.engine.servers import Server

WORDS = tuple(
    f"{first}{second}"
    for first in ("led", "bun", "har", "mea", "tim")
    for second in ("ger", "dle", "bour", "dow", "ber")
)
"""What prompts are made of."""


def prompt(words: int, *, seed: int) -> str:
    """Return that many words, other ones for another seed."""
    chance = random.Random(seed)  # noqa: S311  # the same prompts for all servers
    return " ".join(chance.choice(WORDS) for _ in range(words))


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowd:
    """What callers saw who all asked at one moment."""

    answers: tuple[Answer, ...]

    @property
    def whole_s(self) -> float:
        """Seconds from the first request to the last token."""
        asked = min(answer.asked_s for answer in self.answers)
        return max(answer.ended_s for answer in self.answers) - asked

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(answer.tokens for answer in self.answers)

    @property
    def rate(self) -> float:
        """Tokens of answers per second, from first request to last token."""
        return self.tokens / self.whole_s

    @property
    def decode_rate(self) -> float:
        """Tokens per second while all answers were being written.

        From when the last caller had its first token to when the first caller had
        its last one: no prompt is computed then. An event may carry several tokens
        or, with the next, a part of a character: each counts as one answer's share.
        """
        begin = max(answer.stamps[0] for answer in self.answers)
        end = min(answer.stamps[-1] for answer in self.answers)
        seen = sum(
            sum(begin < at <= end for at in each.stamps)
            * (each.tokens / len(each.stamps))
            for each in self.answers
        )
        return seen / (end - begin) if end > begin else 0.0

    @property
    def first_s(self) -> float:
        """Median seconds to the first token."""
        firsts = sorted(answer.first_s for answer in self.answers)
        return firsts[len(firsts) // 2]


async def crowd(
    server: Server, prompts: Sequence[str], *, tokens: int, system: str = ""
) -> Crowd:
    """Ask all prompts at once.

    Raises:
        RuntimeError: An answer was refused, or has fewer tokens than asked for.
    """
    answers = await asyncio.gather(
        *(ask(server, each, tokens=tokens, system=system) for each in prompts)
    )
    for answer in answers:
        if answer.status != OK or answer.tokens != tokens:  # OK
            raise RuntimeError(
                f"{server.name}: status {answer.status}, {answer.tokens} tokens"
            )
    return Crowd(answers=tuple(answers))
