"""What a scheduler may ask of a model: one batch in, tokens of each answer out.

``llama/context.py`` implements it; so does a fake that checks every promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from appliance.engine.port import Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence in one batch.

    Attributes:
        sequence: Whose tokens they are.
        position: Place of the first in its sequence.
        tokens: What is computed; the last ``drafts`` of them are guesses.
        wants_token: Whether the token after the last certain one is to be sampled.
        drafts: How many guesses follow the last certain token.
    """

    sequence: int
    position: int
    tokens: Sequence[int]
    wants_token: bool
    drafts: int = 0

    @property
    def outputs(self) -> int:
        """Places of the batch whose logits are needed."""
        return self.drafts + 1 if self.wants_token else 0


class Undone(Enum):
    """Why nothing came of a batch; the cache is as it was before."""

    NO_CELLS = "the cache had no cells left"
    INTERRUPTED = "it was interrupted"


class Decoder(Protocol):
    """What the scheduler needs of a model."""

    @property
    def shares(self) -> bool:
        """Whether sequences may hold cells in common, and be cut at any place.

        False for sliding windows and recurrent states: there a sequence can only
        be continued where it ends.
        """

    def open(
        self,
        sequence: int,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        """Make ready to sample for ``sequence``; its cells stay as they are."""

    def retire(self, sequence: int) -> None:
        """Free the sampler of ``sequence`` and keep its cells."""

    def drop(self, sequence: int) -> None:
        """Free the cells of ``sequence``, which has no sampler."""

    def share(self, source: int, target: int, *, begin: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` at these positions as well.

        Cells that ``target`` held there are freed. Costs no cell.
        """

    def copy(self, source: int, target: int) -> None:
        """Give ``target`` all that ``source`` holds, in cells of its own.

        For sequences with a part of the cache each. Cells that ``target`` held
        before are freed.
        """

    def cut(self, sequence: int, *, tokens: int) -> None:
        """Free the cells of ``sequence`` behind its first ``tokens`` ones."""

    def save(self, sequence: int) -> bytes:
        """Return the state of ``sequence`` as bytes of this process's memory."""

    def restore(self, sequence: int, state: bytes) -> bool:
        """Give an empty ``sequence`` a saved state; False if that cannot be now."""

    def decode(self, slices: Sequence[Slice]) -> Sequence[Sequence[int]] | Undone:
        """Run one batch and return each slice's next tokens.

        Returns:
            For each slice none if it wanted none; else those drafts that are what
            was sampled, and one token more. The cells of other drafts are still
            held: ``cut`` frees them. ``Undone`` instead of all if nothing changed.
        """

    def interrupt(self) -> None:
        """End the batch that is being decoded, from another thread.

        Where it cannot be undone, and where none is decoded, nothing happens.
        """

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to the text."""

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
