"""Plays one guide from its beginning to its end."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from tests.support.guides.blocks import Command, Part, commands, lines, parts
from tests.support.guides.shell import Shell

Deed = Callable[[Shell], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What lies on the table when a guide begins, and what happens meanwhile."""

    prepare: Deed
    deeds: Mapping[str, Deed]


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """A block, and the commands in it with what they really printed."""

    part: Part
    commands: tuple[Command, ...]

    @property
    def text(self) -> str:
        """The block as it should be shown."""
        return "".join(f"{each.typed}\n{each.printed}" for each in self.commands)


def play(text: str, scene: Scene, shell: Shell) -> Iterator[Played]:
    """Play a guide in a scratch folder, block by block."""
    shell.desk.mkdir(parents=True)
    scene.prepare(shell)
    before = Part(kind="", text="", span=(0, 0))
    for part in parts(text):
        if part.kind == "meanwhile":
            scene.deeds[part.text](shell)
        elif before.kind == "file":
            (shell.desk / before.text).write_text(part.text, encoding="utf-8")
        elif before.kind == "played":
            for line in lines(part.text):
                shell.does(shell.typed(line))
        elif part.kind == "console":
            played = (_run(each, shell) for each in commands(part.text))
            yield Played(part=part, commands=tuple(played))
        before = part


def _run(command: Command, shell: Shell) -> Command:
    fresh = replace(command, typed=shell.typed(command.typed))
    return replace(fresh, printed=shell.play(fresh))
