"""What is learnt from: rows of tokens, in groups of about the same length."""

from collections.abc import Iterable, Sequence, Sized
from typing import NamedTuple


class Row(NamedTuple):
    """Tokens, where in them answers stand, and what the first token of one counts."""

    tokens: list[int]
    answers: list[range]
    first: float = 1.0


def in_groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Return rows by their length, none much longer than the first of its group."""
    groups: list[list[Row]] = []
    most = 0
    for row in sorted(rows, key=lambda row: len(row.tokens)):
        if len(row.tokens) > most:
            groups.append([])
            most = len(row.tokens) * 6 // 5 + 1
        groups[-1].append(row)
    return groups


def by_length(rows: Sequence[Sized], at_once: int) -> list[list[int]]:
    """Return the numbers of rows, ``at_once`` of like lengths together."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    return [order[at : at + at_once] for at in range(0, len(order), at_once)]


def up_to(size: int, tile: int) -> int:
    """Return the least multiple of ``tile`` that is not below ``size``."""
    return -(-size // tile) * tile
