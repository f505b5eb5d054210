"""What the guides name exists: commands, options, codes, settings, files, anchors."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import appliance.errors  # noqa: F401 - defines leaves of the tree
from appliance.cli import make_app
from appliance.settings import Settings
from bundleformat.errors import Error
from bundleformat.limits import DEFAULT_LIMITS
from bundler.cli import app as bundler_app
from bundler.contents.spec import read_spec
from bundler.errors import SpecError
from tests.support.guides.blocks import GUIDES, commands_told, guides, parts

TEXTS = guides()
PROGRAMS: dict[str, Any] = {
    "sallyport": typer.main.get_command(make_app()),
    "sallyport-bundler": typer.main.get_command(bundler_app),
}
HEAD = 'channel = "main"\nversion = 1\n'


def told() -> list[str]:
    found = (line for text in TEXTS.values() for line in commands_told(text))
    return sorted({line.strip() for line in found if line.startswith("sallyport")})


def codes(kind: type[Error] = Error) -> set[str]:
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("line", told())
def test_a_command_and_its_options_exist(line: str) -> None:
    program, *words = shlex.split(line)
    command = PROGRAMS[program]
    known = options_of(command)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            assert word in known, f"{word} is no option of {command.name}"
            if known[word]:
                words.pop(0)
        elif hasattr(command, "commands"):
            assert word in command.commands, f"no command {word}"
            command = command.commands[word]
            known = options_of(command)


def options_of(command: Any) -> dict[str, bool]:
    """Return the options of a command, and whether each takes a value."""
    found = {
        name: not getattr(each, "is_flag", False)
        for each in command.params
        for name in each.opts
        if name.startswith("--")
    }
    return {**found, "--help": False}


def test_every_code_in_a_table_of_codes_exists() -> None:
    named = {
        code
        for text in TEXTS.values()
        for table in re.findall(r"^\| code \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
        for code in re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    }
    assert named
    assert named <= codes()


def test_every_setting_that_is_named_exists() -> None:
    known = {
        (part.alias or attribute, name)
        for attribute, part in Settings.model_fields.items()
        for name in type(part.default).model_fields
    }
    named = {
        (section, name)
        for text in TEXTS.values()
        for section, name in re.findall(r"`\[(\w+)\] (\w+)", text)
    }
    assert named
    assert named <= known


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        path = (GUIDES / place).resolve() if place else GUIDES / f"{name}.md"
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def snippets() -> list[str]:
    return [
        part.text
        for text in TEXTS.values()
        for part in parts(text)
        if part.kind == "toml"
    ]


@pytest.mark.parametrize("snippet", snippets())
def test_every_piece_of_a_spec_is_one_that_a_build_takes(
    snippet: str, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(snippet if "channel" in snippet else HEAD + snippet)
    read_spec(spec, limits=DEFAULT_LIMITS)


def test_a_misspelt_spec_would_be_noticed(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(HEAD + '[[models]]\nnaem = "x"\n')
    with pytest.raises(SpecError):
        read_spec(spec, limits=DEFAULT_LIMITS)
