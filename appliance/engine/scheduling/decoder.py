"""What a scheduler may ask of a model: one batch in, one token per answer out.

``llama.Context`` implements it; so does a fake that checks every promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.engine.port import Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence in one batch."""

    sequence: int
    position: int
    tokens: Sequence[int]
    wants_token: bool
    """Whether the token after the last one is to be sampled."""


class Decoder(Protocol):
    """What the scheduler needs of a model; see ``llama.py``."""

    def open(
        self,
        sequence: int,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        """Make ready to sample for ``sequence``, which holds no cells."""

    def close(self, sequence: int) -> None:
        """Free the cells and the sampler of ``sequence``."""

    def decode(self, slices: Sequence[Slice]) -> Sequence[int | None] | None:
        """Run one batch and return each slice's next token.

        Returns:
            For each slice its sampled token or None if it wanted none; None
            instead of all if the cache had no cells left (nothing changed then).
        """

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to the text."""

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
