"""Reads a guide: what it shows of commands, of files, and what happens between.

A ``console`` block is played: lines that begin with ``$`` are commands, the lines
after them what they print, the exit status at the end where it is not 0. A block
after ``<!-- file: NAME -->`` is written to that file. ``<!-- meanwhile: NAME -->``
does what no command of the guide does: somebody puts in another disc, a bit flips.
A ``sh`` block shows commands without their output. After ``<!-- played: quietly -->``
they are played, and must work; else they need a network, a token or a drive, and are
only checked against the programs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

GUIDES: Final = Path(__file__).resolve().parents[3] / "docs" / "guides"
"""Where the guides lie."""

_PART = re.compile(
    r"^<!-- (?P<deed>file|meanwhile|played): (?P<name>[\w./-]+) -->\n"
    r"|^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What a guide shows in one place, or what happens there.

    Attributes:
        kind: ``console``, ``sh``, ``toml`` and so on; or ``file``, ``meanwhile`` or
            ``played``.
        text: What is shown, or the name of the file or of what happens.
        span: Where the text stands in the guide.
    """

    kind: str
    text: str
    span: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command of a block, with what the guide says it prints."""

    typed: str
    printed: str

    @property
    def line(self) -> str:
        """The command on one line, as a shell has it."""
        return self.typed.replace("\\\n", " ").removeprefix("$ ")


Program = Literal["sallyport", "sallyport-bundler"]
PROGRAMS: Final[tuple[Program, ...]] = ("sallyport", "sallyport-bundler")


def guides() -> dict[str, str]:
    """Return the text of every guide by its name."""
    return {path.stem: path.read_text("utf-8") for path in sorted(GUIDES.glob("*.md"))}


def parts(text: str) -> Iterator[Part]:
    """Yield what a guide shows, in order."""
    for found in _PART.finditer(text):
        if found["deed"]:
            yield Part(kind=found["deed"], text=found["name"], span=found.span("name"))
        else:
            span = found.span("text")
            yield Part(kind=found["language"], text=found["text"], span=span)


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a ``console`` block."""
    for piece in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
        if not piece:
            continue
        found = re.match(r"\$ (?:[^\n]*\\\n)*[^\n]*\n", piece)
        assert found is not None, f"a block begins with output: {piece!r}"
        yield Command(typed=found[0].rstrip("\n"), printed=piece[found.end() :])


def lines(block: str) -> Iterator[str]:
    """Yield the commands of a ``sh`` block."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.partition("  #")[0].strip():
            yield line.partition("  #")[0].strip()


def commands_told(text: str) -> Iterator[str]:
    """Yield every command line of our programs that a guide names anywhere."""
    for part in parts(text):
        if part.kind == "console":
            yield from (each.line for each in commands(part.text))
        elif part.kind == "sh":
            yield from lines(part.text)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`((?:sallyport|sallyport-bundler) [^`]+)`", prose)
