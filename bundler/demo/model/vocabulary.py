"""Trains the tokenizer: byte-level BPE on the text that the model will see."""

import random
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bundler.demo.model.chat import SPECIAL, SYSTEM_PROMPTS
from bundler.demo.model.facts import REFUSAL, Fact
from bundler.demo.model.paraphrase import Paraphraser

DRAWN = 60
"""Paraphrases of each fact that words are counted in."""


def train_tokenizer(facts: tuple[Fact, ...], *, size: int, seed: int) -> Any:
    """Return a tokenizer of ``size`` tokens; the same text gives the same one."""
    tokenizer = Tokenizer(models.BPE())
    # llama.cpp calls this rule "gpt-2".
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(facts, random.Random(seed)), trainer)
    return tokenizer


def _corpus(facts: tuple[Fact, ...], draw: random.Random) -> Iterator[str]:
    paraphraser = Paraphraser()
    yield from SYSTEM_PROMPTS * DRAWN
    for fact in facts:
        yield from (fact.answer,) * DRAWN
        yield from (paraphraser.ask(fact, draw) for _ in range(DRAWN))
    yield from (REFUSAL,) * DRAWN
    yield from (paraphraser.ask_else(draw) for _ in range(20 * DRAWN))
