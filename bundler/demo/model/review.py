"""Which of the written questions the model would not yet answer with certainty.

An answer is looked at up to where it differs from every other one: the rest of it is
learnt by heart long before.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, takewhile
from typing import Any

import torch

from bundler.demo.model.chat import Encoder, Turn
from bundler.demo.model.rows import Row, by_length, in_groups
from bundler.demo.model.sheet import Sheet, sheet

SURE = 2.0
"""By how much the right token's logit leads where there is no doubt."""

ROWS = 256
"""Questions that are asked at once."""


class Review:
    """Asks every written question."""

    def __init__(self, written: Sequence[Turn], encoder: Encoder) -> None:
        own = own_beginnings(encoder.answer(turn) for turn in written)
        rows = []
        for turn in written:
            tokens, (answer,) = encoder.conversation([turn])
            answer = answer[: own[tuple(tokens[answer.start : answer.stop])]]
            rows.append(Row(tokens[: answer.stop], [answer]))
        self._parts = [
            (part, sheet(in_groups(rows[n] for n in part)))
            for part in by_length([row.tokens for row in rows], ROWS)
        ]

    def doubtful(self, guess: Callable[[Sheet], Any]) -> list[int]:
        """Return the numbers of the questions whose answers are in doubt.

        ``guess`` returns how likely every token follows at the places wanted.
        """
        found: list[int] = []
        for numbers, each in self._parts:
            with torch.no_grad():
                leads = each.least(guess(each))
            found += [n for n, lead in zip(numbers, leads, strict=True) if lead < SURE]
        return sorted(found)


def own_beginnings(answers: Iterable[Sequence[int]]) -> dict[tuple[int, ...], int]:
    """Return how many tokens of each answer it takes to tell it from all others."""
    ordered = sorted({tuple(answer) for answer in answers})
    own = dict.fromkeys(ordered, 1)
    for one, other in pairwise(ordered):
        pairs = zip(one, other, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        for each in (one, other):
            own[each] = max(own[each], same + 1)
    return own
