"""Trains the encoder: a question is to be nearer to its answer than to any other."""

import random
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from bundler.demo.model.embedder.network import Shape, fresh, vectors
from bundler.demo.model.embedder.pieces import Pieces, train_pieces
from bundler.demo.model.facts import Fact
from bundler.demo.model.paraphrase import Paraphraser
from bundler.demo.model.rows import by_length, up_to
from bundler.demo.model.slices import Slices

STEPS = 700
PAIRS = 96
VOCABULARY = 3000
RATE, WARM_UP = 3e-3, 40
SHARPNESS = 20.0
"""What a cosine is multiplied with before the softmax."""

DRAWN = 40
"""Paraphrases of each fact that words are counted in."""

ROWS = 32
"""Texts of like lengths that are read at once."""

TILE = 8
"""Rows are filled up to a multiple of it: each new size of a product costs time."""

STATE = "embedder.pt"


def vocabulary(facts: tuple[Fact, ...]) -> tuple[str, ...]:
    """Return the pieces that the text is cut into."""
    paraphraser, draw = Paraphraser(), random.Random(0)
    texts = [fact.answer for fact in facts for _ in range(DRAWN)]
    texts += [paraphraser.ask(fact, draw) for fact in facts for _ in range(DRAWN)]
    return train_pieces(texts, size=VOCABULARY)


class EmbedderTraining(Slices):
    """Learns to put a question near its answer."""

    steps = STEPS

    def __init__(self, folder: Path, facts: tuple[Fact, ...]) -> None:
        torch.set_num_threads(1)
        folder.mkdir(parents=True, exist_ok=True)
        self._facts = facts
        self.vocabulary = vocabulary(facts)
        self._pieces = Pieces(self.vocabulary)
        self._paraphraser = Paraphraser()
        self.shape = Shape(vocabulary=len(self.vocabulary))
        start = fresh(self.shape, seed=0)
        tensors = {name: each.requires_grad_() for name, each in start.items()}
        optimizer = torch.optim.AdamW(
            tensors.values(), lr=RATE, weight_decay=0.02, foreach=True
        )
        super().__init__(folder / STATE, tensors=tensors, optimizer=optimizer)

    def finished(self) -> dict[str, Any]:
        """Return the tensors as they are."""
        return {name: each.detach() for name, each in self.tensors.items()}

    def _learn(self) -> float:
        draw = random.Random(f"embedder:{self.step}")
        rate = RATE * min(1, (self.step + 1) / WARM_UP) * (1 - self.step / STEPS)
        self._optimizer.param_groups[0]["lr"] = rate
        facts = draw.sample(self._facts, min(PAIRS, len(self._facts)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            asked = self.vectors([self._paraphraser.ask(fact, draw) for fact in facts])
            answers = self.vectors([fact.answer for fact in facts])
        near = SHARPNESS * asked.float() @ answers.float().T
        own = torch.arange(len(facts))
        loss = functional.cross_entropy(near, own) + functional.cross_entropy(
            near.T, own
        )
        loss.backward()
        return float(loss.item())

    def vectors(self, texts: list[str]) -> Any:
        """Return a vector for each text."""
        rows = [self._pieces.tokens(text)[: self.shape.context] for text in texts]
        parts = by_length(rows, ROWS)
        made = [self._alike([rows[number] for number in part]) for part in parts]
        order = torch.tensor([*chain.from_iterable(parts)])
        return torch.cat(made)[order.argsort()]

    def _alike(self, rows: list[list[int]]) -> Any:
        """Return a vector for each of some rows of like lengths."""
        longest = up_to(max(map(len, rows)), TILE)
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        for at, row in enumerate(rows):
            tokens[at, : len(row)] = torch.tensor(row)
        return vectors(self.tensors, tokens, self.shape)
