"""Trains the model, on one thread.

The rows of a step depend on its number and on what the last review noted, which is
kept, so a run that was stopped ends with the same weights, bit for bit, as one that
was not: on one machine, with one release of PyTorch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from bundler.demo.model.chat import Encoder
from bundler.demo.model.facts import Fact
from bundler.demo.model.lessons import Course, Lessons
from bundler.demo.model.network import Shape, fresh, hidden, logits, rotations
from bundler.demo.model.review import Review
from bundler.demo.model.sheet import Sheet, sheet
from bundler.demo.model.slices import Slices
from bundler.demo.model.vocabulary import train_tokenizer

TOKENIZER, STATE = "tokenizer.json", "state.pt"
"""What lies in the working folder."""

DOUBTFUL = "doubtful"
"""The name under which numbers of written questions are noted."""


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
        self._review = Review(self._lessons.written, encoder)
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
        course = self._plan.course
        if course.reviewed(self.step):
            self.noted[DOUBTFUL] = self._review.doubtful(self._guessed)
        rate = course.rate * (1 - course.over(self.step))
        for group in self._optimizer.param_groups:
            group["lr"] = rate * min(1, (self.step + 1) / self._plan.warm_up)
        doubtful = self.noted.get(DOUBTFUL, [])
        lesson = sheet(self._lessons.groups(self.step, doubtful))
        each = functional.cross_entropy(
            self._guessed(lesson), lesson.following, reduction="none"
        )
        loss = (each * lesson.weights).sum() / lesson.weights.sum()
        loss.backward()
        return float(loss.item())

    def _guessed(self, lesson: Sheet) -> Any:
        """Return how likely every token follows, where one is to be learnt."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            state = hidden(
                self.tensors, lesson.batch, self.shape, self._turns, lesson.wanted
            )
            return logits(self.tensors, state).float()


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
        fused=True,
    )
