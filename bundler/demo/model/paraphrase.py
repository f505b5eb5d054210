"""Says one question in endlessly many ways, and asks about something else.

A model of this size knows no English but what it is trained on, so it is never
trained on the same list twice: words change places with words of their kind, are left
out, put in or misspelt, and people write "please" around them.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence

from bundler.demo.model.facts import Fact, read_lines

LONGEST_PHRASE = 5
"""Words of the longest group in ``synonyms.txt``."""

SMALL_WORDS = frozenset(
    (
        *(
            "a",
            "an",
            "the",
            "is",
            "are",
            "was",
            "be",
            "do",
            "does",
            "did",
            "have",
            "has",
        ),
        *("i", "you", "we", "they", "it", "my", "your", "our", "me", "this", "that"),
        *("to", "of", "for", "in", "on", "at", "if", "with", "and", "or", "from", "by"),
    )
)
"""What is left out by whoever writes in keywords."""

FILLERS = (
    *("really", "actually", "exactly", "just", "now", "here", "then", "also", "again"),
    *("usually", "normally", "today", "please", "always", "somehow", "simply", "ever"),
)
SYLLABLES = ("bcdfghjklmnprstvwz", "aeiou", "bdgklmnprst")


class Paraphraser:
    """Draws questions; the same ``random.Random`` draws the same ones."""

    def __init__(self) -> None:
        self._synonyms = _synonyms(read_lines("synonyms.txt"))
        self._frames = _frames(read_lines("frames.txt"))
        self._refused = read_lines("refused.txt")
        self._words = tuple(" ".join(read_lines("other-words.txt")).split())

    def ask(self, fact: Fact, draw: random.Random) -> str:
        """Return a question that ``fact`` answers."""
        return self.varied(self._written(fact, draw), draw)

    def ask_else(self, draw: random.Random) -> str:
        """Return a question that no fact answers."""
        share = draw.random()
        if share < 0.55:
            return self.varied(draw.choice(self._refused), draw)
        if share < 0.85:
            frame = draw.choice(self._frames["O"])
            while "{}" in frame:
                frame = frame.replace("{}", self._thing(draw), 1)
            return self.varied(frame, draw)
        words = [self._thing(draw) for _ in range(draw.randint(1, 4))]
        start = draw.choice(self._frames["O"]).partition("{}")[0]
        return _cased(f"{start}{' '.join(words)}{draw.choice('??. ')}".strip(), draw)

    def varied(self, question: str, draw: random.Random) -> str:
        """Return ``question`` in other words, as somebody in a hurry types it."""
        share = draw.random()
        if share < 0.75:
            words = self._exchanged(question.split(), draw, rate=0.18)
            if share < 0.1:
                words = [w for w in words if w.lower().strip("?.,") not in SMALL_WORDS]
            elif share < 0.45:
                words = _disturbed(words, draw)
            question = " ".join(words) or question
        if draw.random() < 0.2:
            question = draw.choice(self._frames["W"]).format(question)
        if draw.random() < 0.05:
            question = _misspelt(question, draw)
        return _cased(question, draw)

    def _written(self, fact: Fact, draw: random.Random) -> str:
        """Return a question as a person wrote it, or a term or deed in a frame."""
        kinds = [("Q", 3.0 if fact.questions else 0.0)]
        kinds += [("T", 1.5 if fact.terms else 0.0), ("D", 1.5 if fact.deeds else 0.0)]
        names, weights = zip(*kinds, strict=True)
        (kind,) = draw.choices(names, weights)
        if kind == "Q":
            return draw.choice(fact.questions)
        said = draw.choice(fact.terms if kind == "T" else fact.deeds)
        return draw.choice(self._frames[kind]).format(said)

    def _exchanged(
        self, words: Sequence[str], draw: random.Random, *, rate: float
    ) -> list[str]:
        """Return the words, some of them exchanged for others of their kind."""
        found: list[str] = []
        at = 0
        while at < len(words):
            length, others = self._group_at(words, at)
            if others and draw.random() < rate * (2 if length > 1 else 1):
                mark = words[at + length - 1][-1]
                end = mark if mark in "?.,!:" else ""
                found += (draw.choice(others) + end).split()
            else:
                found += words[at : at + length]
            at += length
        return found

    def _group_at(self, words: Sequence[str], at: int) -> tuple[int, tuple[str, ...]]:
        """Return how many words at a place have others of their kind, and which."""
        for length in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
            phrase = " ".join(words[at : at + length]).lower().strip("?.,!:")
            others = self._synonyms.get(phrase)
            if others:
                return length, others
        return 1, ()

    def _thing(self, draw: random.Random) -> str:
        """Return a word from the list, or one that means nothing."""
        if draw.random() < 0.85:
            return draw.choice(self._words)
        return made_up(draw)


def made_up(draw: random.Random) -> str:
    """Return a word that can be spoken and means nothing."""
    starts, vowels, ends = SYLLABLES
    return "".join(
        draw.choice(starts) + draw.choice(vowels) + draw.choice(ends + "      ").strip()
        for _ in range(draw.randint(1, 3))
    )


def _synonyms(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for line in lines:
        group = [word.lower() for word in line.split(" | ")]
        found[group[0]] += tuple(group[1:])
    return dict(found)


def _frames(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for line in lines:
        letter, _, frame = line.partition(": ")
        found[letter] += (frame,)
    return dict(found)


def _disturbed(words: list[str], draw: random.Random) -> list[str]:
    """Return the words with one left out, put in, or in another place."""
    words = list(words)
    if len(words) > 3 and draw.random() < 0.45:
        del words[draw.randrange(len(words))]
    if draw.random() < 0.35:
        words.insert(draw.randint(0, len(words)), draw.choice(FILLERS))
    if len(words) > 3 and draw.random() < 0.2:
        at = draw.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return words


def _misspelt(text: str, draw: random.Random) -> str:
    """Return ``text`` with one letter left out, doubled or in another place."""
    if len(text) < 8:
        return text
    at = draw.randrange(len(text) - 1)
    one, two = text[at], text[at + 1]
    return text[:at] + draw.choice((two, two + one, one + one + two)) + text[at + 2 :]


def _cased(text: str, draw: random.Random) -> str:
    """Return ``text`` as people begin and end a line: with a capital, or without."""
    share = draw.random()
    if share < 0.25:
        text = text.lower()
    elif text:
        text = text[0].upper() + text[1:]
    if draw.random() < 0.3:
        text = re.sub(r"[?.! ]+$", "", text) or text
    return text
