"""Every command of a guide prints what the guide says it prints."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.guides.blocks import guides, parts
from tests.support.guides.masks import masked
from tests.support.guides.play import play
from tests.support.guides.scenes import SCENES
from tests.support.guides.shell import Shell

GUIDES = guides()
SLOW = frozenset({"bare-host"})
"""Guides that run pip; what it does is tested in ``tests/bundler/installer``, too."""

SERVED = frozenset({"auditor"})
"""Guides in whose scene a server is called, over the loopback interface."""


def scenes() -> list[Any]:
    return [pytest.param(name, marks=marks_of(name)) for name in sorted(SCENES)]


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    if name in SERVED:
        return [pytest.mark.system, pytest.mark.enable_socket]
    return [pytest.mark.slow] if name in SLOW else []


@pytest.mark.parametrize("name", scenes())
def test_a_guide_shows_what_the_programs_print(name: str, tmp_path: Path) -> None:
    text = GUIDES[name]
    shown = [part.text for part in parts(text) if part.kind == "console"]
    played = list(play(text, SCENES[name], Shell(tmp_path / "machine")))
    assert len(played) == len(shown)
    for block, told in zip(played, shown, strict=True):
        assert masked(block.text) == masked(told)


def test_a_guide_that_shows_output_is_played() -> None:
    showing = {
        name
        for name, text in GUIDES.items()
        if any(part.kind == "console" for part in parts(text))
    }
    assert showing == set(SCENES)


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = {part.kind for text in GUIDES.values() for part in parts(text)}
    assert kinds <= {
        "console",
        "sh",
        "toml",
        "cedar",
        "python",
        "file",
        "meanwhile",
        "played",
    }
