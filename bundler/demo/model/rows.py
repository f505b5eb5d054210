"""What is learnt from: rows of tokens, in groups of about the same length."""

from collections.abc import Iterable
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
