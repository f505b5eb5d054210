"""Cuts runs that llama.cpp's tokenizers cannot take whole; pure.

For many vocabularies llama.cpp splits text with a regular expression engine that
recurses once per character of a match, and a match can be as long as a run of
text without a space, or of spaces alone. Some ten thousand characters overflow
the stack and end the process. So such a run is tokenized in pieces; shorter ones,
which is all ordinary text, are left alone.
"""

import itertools
import re

MAX_RUN = 4_096
"""Longest run tokenized whole. Unit: characters. A seventh of what has crashed."""

NEVER = re.compile(r"(?!)")
"""Matches nothing: for texts in which nothing must stay whole."""

_LONG = re.compile(rf"\S{{{MAX_RUN + 1},}}|\s{{{MAX_RUN + 1},}}")


def cut_long_runs(text: str, *, whole: "re.Pattern[str]") -> list[str]:
    """Return ``text`` in pieces without too long a run; joined they are ``text``.

    What matches ``whole``, the spelling of a control token, is never cut.
    """
    places = [
        _before(place, text, whole)
        for run in _LONG.finditer(text)
        for place in range(run.start() + MAX_RUN, run.end(), MAX_RUN)
    ]
    edges = [0, *sorted(set(places)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges) if start < end]


def _before(place: int, text: str, whole: "re.Pattern[str]") -> int:
    """Return ``place``, or the start of the control token that it would cut."""
    nearby = max(0, place - 256)
    for token in whole.finditer(text, nearby, place + 256):
        if token.start() < place < token.end():
            return token.start()
    return place
