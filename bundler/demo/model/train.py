"""Trains the model, on one thread.

The rows of a step depend on its number alone, so a run that was stopped ends with the
same weights, bit for bit, as one that was not: on one machine, with one release of
PyTorch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from bundler.demo.model.chat import Encoder
from bundler.demo.model.facts import Fact
from bundler.demo.model.lessons import Course, Lessons, Row
from bundler.demo.model.network import Shape, fresh, hidden, logits, rotations
from bundler.demo.model.slices import Slices
from bundler.demo.model.vocabulary import train_tokenizer

TOKENIZER, STATE = "tokenizer.json", "state.pt"
"""What lies in the working folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that decides the weights."""

    course: Course = field(default_factory=Course)
    tokens: int = 2368
    width: int = 192
    layers: int = 3
    feed_forward: int = 512
    warm_up: int = 60
    decay: float = 0.05

    def shape(self, vocabulary: int) -> Shape:
        """Return the sizes of the model."""
        return Shape(
            vocabulary=vocabulary,
            width=self.width,
            layers=self.layers,
            feed_forward=self.feed_forward,
        )


class Training(Slices):
    """Learns to answer."""

    def __init__(self, folder: Path, facts: tuple[Fact, ...], plan: Plan) -> None:
        torch.set_num_threads(1)
        folder.mkdir(parents=True, exist_ok=True)
        words = folder / TOKENIZER
        if not words.exists():
            made = train_tokenizer(facts, size=plan.tokens, seed=plan.course.seed)
            made.save(str(words))
        tokenizer = Tokenizer.from_file(str(words))
        encoder = Encoder(tokenizer, [fact.key for fact in facts])
        self._plan = plan
        self.steps = plan.course.steps
        self.shape = plan.shape(encoder.tokens)
        self._words = tokenizer.get_vocab_size()
        self._lessons = Lessons(facts, encoder=encoder, course=plan.course)
        self._turns = rotations(self.shape)
        start = fresh(self.shape, seed=plan.course.seed)
        tensors = {name: each.requires_grad_() for name, each in start.items()}
        optimizer = _optimizer(tensors, plan)
        super().__init__(folder / STATE, tensors=tensors, optimizer=optimizer)

    def finished(self) -> tuple[dict[str, Any], Shape]:
        """Return the tensors and sizes without the tokens that name a fact."""
        tensors = {name: each.detach() for name, each in self.tensors.items()}
        table = "token_embd.weight"
        tensors[table] = tensors[table][: self._words]
        return tensors, replace(self.shape, vocabulary=self._words)

    def _learn(self) -> float:
        part, over = self._plan.course.place(self.step)
        rate = part.rate * min(1, (self.step + 1) / self._plan.warm_up) * (1 - over)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batches = [_batch(rows) for rows in self._lessons.groups(self.step)]
        whole = sum(float(weights.sum()) for _, weights in batches)
        total = 0.0
        for tokens, weights in batches:
            loss = self._loss(tokens, weights) / whole
            loss.backward()
            total += loss.item()
        return total

    def _loss(self, tokens: Any, weights: Any) -> Any:
        wanted = weights > 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            state = hidden(
                self.tensors, tokens[:, :-1], self.shape, self._turns, wanted
            )
            guessed = logits(self.tensors, state)
        each = functional.cross_entropy(
            guessed.float(), tokens[:, 1:][wanted], reduction="none"
        )
        return (each * weights[wanted]).sum()


def _optimizer(tensors: dict[str, Any], plan: Plan) -> Any:
    """Return AdamW; matrices decay, and norms do not."""
    flat = [each for each in tensors.values() if each.dim() == 1]
    wide = [each for each in tensors.values() if each.dim() == 2]
    return torch.optim.AdamW(
        [
            {"params": wide, "weight_decay": plan.decay},
            {"params": flat, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        foreach=True,
    )


def _batch(rows: list[Row]) -> tuple[Any, Any]:
    """Return the tokens of rows, and how much each next token counts."""
    longest = max(len(row.tokens) for row in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for at, row in enumerate(rows):
        tokens[at, : len(row.tokens)] = torch.tensor(row.tokens)
        weights[at, row.asked : len(row.tokens)] = 1.0
        weights[at, row.asked] = row.first
    return tokens, weights[:, 1:]
