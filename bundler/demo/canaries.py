"""Questions whose exact greedy answers tell whether a model is still the same.

A file was carried over, stored, loaded, restarted, brought back: whoever asks these
and gets these answers, word for word, has the model that was trained.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CANARIES = Path(__file__).with_name("canaries.jsonl")
"""Those of the demo model, a line each; ``make demo-model`` writes such a file."""


class Canary(NamedTuple):
    """A question, and what is answered at temperature 0."""

    question: str
    answer: str


def read_canaries(path: Path = CANARIES) -> tuple[Canary, ...]:
    """Return the canaries of a file, in its order."""
    lines = path.read_text("utf-8").splitlines()
    return tuple(Canary(**json.loads(line)) for line in lines)


def write_canaries(path: Path, canaries: Iterable[Canary]) -> None:
    """Write canaries, a line each."""
    lines = (json.dumps(each._asdict(), ensure_ascii=False) for each in canaries)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
