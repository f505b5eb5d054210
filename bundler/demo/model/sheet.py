"""The tensors that rows become for one pass through the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from bundler.demo.model.network import Batch, pack
from bundler.demo.model.rows import Row

ROW_TILE, BATCH_TILE = 4, 128
"""Lengths of rows and sizes of batches are multiples of these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Rows as tensors.

    Attributes:
        batch: Their tokens.
        wanted: Places in the batch that are followed by a token of an answer.
        following: That token.
        weights: What it counts.
        counts: How many of the places each row has, in the order of the rows.

    At the end of the three tensors may stand some that count nothing.
    """

    batch: Batch
    wanted: Any
    following: Any
    weights: Any
    counts: tuple[int, ...]

    def least(self, guessed: Any) -> list[float]:
        """Return by how much each row's answers lead over any others, at the least.

        ``guessed`` has how likely every token follows, at the places wanted.
        """
        own = self.following[:, None]
        right = guessed.gather(1, own)[:, 0]
        lead = right - guessed.scatter(1, own, float("-inf")).amax(1)
        parts = lead[: sum(self.counts)].split(self.counts)
        return [float(part.min()) for part in parts]


def sheet(groups: Sequence[Sequence[Row]]) -> Sheet:
    """Return the rows of all groups as tensors."""
    tokens = [[row.tokens[:-1] for row in group] for group in groups]
    batch = pack(tokens, by=ROW_TILE, whole=BATCH_TILE)
    lengths = chain.from_iterable((length,) * rows for rows, length in batch.blocks)
    wanted: list[int] = []
    following: list[int] = []
    weights: list[float] = []
    counts = []
    begin = 0
    for row, length in zip(chain.from_iterable(groups), lengths, strict=True):
        for answer in row.answers:
            wanted += range(begin + answer.start - 1, begin + answer.stop - 1)
            following += row.tokens[answer.start : answer.stop]
            weights += (row.first, *(1.0,) * (len(answer) - 1))
        counts.append(sum(map(len, row.answers)))
        begin += length
    more = -len(wanted) % BATCH_TILE
    return Sheet(
        batch=batch,
        wanted=torch.tensor(wanted + [0] * more),
        following=torch.tensor(following + [0] * more),
        weights=torch.tensor(weights + [0.0] * more),
        counts=tuple(counts),
    )
