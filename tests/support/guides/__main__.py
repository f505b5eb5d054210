"""Puts the real output of every command into the guides.

``python -m tests.support.guides [NAME ...]`` plays those named, or all of them.
"""

import sys
import tempfile
from pathlib import Path

from tests.support.guides.blocks import GUIDES, guides
from tests.support.guides.play import Played, play
from tests.support.guides.scenes import SCENES
from tests.support.guides.shell import Shell


def main(names: list[str]) -> int:
    """Play and write."""
    for name, text in guides().items():
        if name not in SCENES or (names and name not in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = list(play(text, SCENES[name], Shell(Path(folder) / "machine")))
        (GUIDES / f"{name}.md").write_text(with_outputs(text, done), encoding="utf-8")
    return 0


def with_outputs(text: str, done: list[Played]) -> str:
    """Return a guide with what its blocks really printed."""
    pieces, after = [], 0
    for played in done:
        begin, end = played.part.span
        pieces += [text[after:begin], played.text]
        after = end
    return "".join([*pieces, text[after:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
