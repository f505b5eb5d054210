"""Reads ``text/``: what the model shall say, and what it may be asked.

A block of a file in ``facts/`` begins with its key in brackets. Below it stand, each
on a line of its own: ``A:`` the answer, ``N:`` what a number in it is compared with,
``T:`` terms that it explains, ``D:`` deeds that it tells how to do, both separated by
``|``, and ``Q:`` a question. Frames turn terms and deeds into more questions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TEXT = Path(__file__).with_name("text")
"""The folder that a person edits."""

REFUSAL = (
    "I do not know. I am a small demo model, "
    "and I can only answer questions about Sallyport."
)
"""The answer to everything else."""

UNSEEN, UNSEEN_REFUSED = "unseen.txt", "unseen-refused.txt"
"""What nothing is trained on, and the card counts."""

_KEY = re.compile(r"\[([a-z0-9-]+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One answer, and what asks for it."""

    key: str
    answer: str
    numbers: tuple[str, ...]
    terms: tuple[str, ...]
    deeds: tuple[str, ...]
    questions: tuple[str, ...]

    def asked(self) -> tuple[str, ...]:
        """Return every phrasing as a person wrote it, terms and deeds in one frame."""
        terms = (f"What is {term}?" for term in self.terms)
        deeds = (f"How do I {deed}?" for deed in self.deeds)
        return (*self.questions, *terms, *deeds)


@dataclass(kw_only=True, slots=True)
class _Block:
    """The lines of a fact, by the letter that they begin with."""

    key: str
    lines: dict[str, list[str]] = field(default_factory=dict)

    def fact(self) -> Fact:
        answers = self.lines.pop("A", [])
        if len(answers) != 1:
            raise ValueError(f"[{self.key}] has {len(answers)} answers, and needs one")
        numbers, terms, deeds, questions = (
            tuple(self.lines.pop(letter, ())) for letter in "NTDQ"
        )
        if self.lines:
            raise ValueError(f"[{self.key}] has lines of an unknown kind: {self.lines}")
        return Fact(
            key=self.key,
            answer=answers[0],
            numbers=numbers,
            terms=tuple(_alternatives(terms)),
            deeds=tuple(_alternatives(deeds)),
            questions=questions,
        )


def parse_facts(text: str) -> Iterator[Fact]:
    """Yield the facts of one file.

    Raises:
        ValueError: A block without a key or an answer, or a line of an unknown kind.
    """
    for part in text.strip().split("\n\n"):
        head, *lines = part.splitlines()
        key = _KEY.fullmatch(head)
        if key is None:
            raise ValueError(f"this is no key in brackets: {head}")
        block = _Block(key=key[1])
        for line in lines:
            letter, _, said = line.partition(": ")
            block.lines.setdefault(letter, []).append(said)
        yield block.fact()


def read_facts() -> tuple[Fact, ...]:
    """Return every fact, in the order of files and lines."""
    files = sorted((TEXT / "facts").glob("*.txt"))
    return tuple(
        fact for path in files for fact in parse_facts(path.read_text("utf-8"))
    )


def read_lines(name: str) -> tuple[str, ...]:
    """Return the lines of another file of ``text/``, without remarks."""
    lines = (TEXT / name).read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def read_unseen() -> tuple[tuple[str, str], ...]:
    """Return questions that nothing is trained on, with the key of their answer."""
    pairs = (line.partition(": ") for line in read_lines(UNSEEN))
    return tuple((question, key) for key, _, question in pairs)


def _alternatives(lines: tuple[str, ...]) -> Iterator[str]:
    for line in lines:
        yield from line.split(" | ")
