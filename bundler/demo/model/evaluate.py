"""Asks a GGUF through llama.cpp, greedily, and counts exact answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bundler.demo.canaries import Canary, read_canaries
from bundler.demo.model.chat import SYSTEM_PROMPTS, Turn
from bundler.demo.model.facts import (
    REFUSAL,
    UNSEEN_REFUSED,
    Fact,
    read_lines,
    read_unseen,
)

LEAST = {
    "unseen phrasings": 0.80,
    "unseen questions to refuse": 0.90,
    "trained phrasings": 0.99,
    "trained questions to refuse": 0.99,
    "canaries": 0.98,
}
"""Shares below which a training went wrong: a little less than the card says."""

REFUSED_CANARIES = 20
"""Canaries that ask about something else."""

MOST_TOKENS = 96
"""New tokens after which an answer is cut off; the longest one has fewer."""

Message = dict[str, str]


class Model:
    """A loaded model with a template, and one conversation at a time."""

    def __init__(self, path: Path) -> None:
        self._llama: Any = llama_cpp.Llama(
            str(path), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False
        )
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True
        )
        template = self._llama.metadata["tokenizer.chat_template"]
        self._template = environment.from_string(template)

    def answer(self, messages: Sequence[Message]) -> str:
        """Return the greedy answer; one that does not stop by itself is cut off."""
        end = self._llama.token_eos()
        written: list[int] = []
        for token in self._llama.generate(self.tokens(messages), temp=0.0):
            if token == end or len(written) == MOST_TOKENS:
                break
            written.append(token)
        return self.text(written)

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a conversation, up to where an answer begins."""
        prompt = self._template.render(messages=messages, add_generation_prompt=True)
        tokens: list[int] = self._llama.tokenize(
            prompt.encode(), add_bos=False, special=True
        )
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens say; control tokens say nothing."""
        text: bytes = self._llama.detokenize(list(tokens))
        return text.decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How many of some questions were answered word for word."""

    name: str
    right: int
    asked: int
    wrong: tuple[tuple[str, str], ...]

    @property
    def enough(self) -> bool:
        """Whether it is not below what a training is to reach."""
        return self.right >= LEAST.get(self.name, 0) * self.asked

    def __str__(self) -> str:
        return f"{self.name}: {self.right} of {self.asked}"


def scores(
    model: Model, facts: tuple[Fact, ...], *, say: Callable[[str], None]
) -> tuple[Score, ...]:
    """Ask everything that the model card counts, and say each figure when it is there.

    Unseen phrasings and unseen questions to refuse; trained questions; the first one
    of each fact behind a system prompt and as the third turn; and the canaries of the
    model that is committed.
    """
    answers = {fact.key: fact.answer for fact in facts}
    trained = [(asked, fact.answer) for fact in facts for asked in fact.asked()]
    firsts = [(fact.asked()[0], fact.answer) for fact in facts]
    unseen = [(question, answers[key]) for question, key in read_unseen()]
    refused = [(question, REFUSAL) for question in read_lines(UNSEEN_REFUSED)]
    known = [(question, REFUSAL) for question in read_lines("refused.txt")]
    same = [(canary.question, canary.answer) for canary in read_canaries()]
    before = [Turn(question, "", answer) for question, answer in firsts[:2]]
    system = SYSTEM_PROMPTS[0]
    rounds: tuple[tuple[str, list[tuple[str, str]], dict[str, Any]], ...] = (
        ("unseen phrasings", unseen, {}),
        ("unseen questions to refuse", refused, {}),
        ("trained phrasings", trained, {}),
        ("trained questions to refuse", known, {}),
        ("behind a system prompt", firsts, {"system": system}),
        ("as the third turn", firsts, {"before": before}),
        ("canaries", same, {}),
    )
    found = []
    for name, pairs, around in rounds:
        score = _score(model, name, pairs, **around)
        say(str(score))
        found.append(score)
    return tuple(found)


def canaries(model: Model, facts: tuple[Fact, ...]) -> tuple[Canary, ...]:
    """Return what is answered to each fact's first question, and to some others."""
    asked = [fact.asked()[0] for fact in facts]
    asked += read_lines("refused.txt")[:REFUSED_CANARIES]
    return tuple(
        Canary(question, model.answer([{"role": "user", "content": question}]))
        for question in asked
    )


def _score(
    model: Model,
    name: str,
    pairs: Sequence[tuple[str, str]],
    *,
    system: str = "",
    before: Sequence[Turn] = (),
) -> Score:
    head = [{"role": "system", "content": system}] if system else []
    for turn in before:
        head.append({"role": "user", "content": turn.question})
        head.append({"role": "assistant", "content": turn.answer})
    wrong = []
    for question, expected in pairs:
        given = model.answer([*head, {"role": "user", "content": question}])
        if given != expected:
            wrong.append((question, given))
    asked = len(pairs)
    return Score(name=name, right=asked - len(wrong), asked=asked, wrong=tuple(wrong))
