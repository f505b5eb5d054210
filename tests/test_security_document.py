"""SECURITY.md names tests that exist, steps of the code, and the code's own limits."""

import ast
import datetime as dt
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel, ValidationError

from appliance import cli as host_commands
from appliance.settings import (
    EngineSettings,
    ImportSettings,
    LedgerSettings,
    LimitSettings,
    ModelSettings,
    ServerSettings,
)
from bundler import cli as publisher_commands

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

THREAT = re.compile(r"^\| (T\d+) \|(.*)\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
LIMIT = re.compile(
    r"^\| ([^|]+) \| (\d[\d ]*?) ?(KiB|MiB|GiB|TiB|)( [a-z]+)? "
    r"\| `([\w.]+):([\w.]+)` \|$",
    re.MULTILINE,
)
COMMAND = re.compile(r"(?:^|`)(sallyport(?:-bundler)?) ([^`\n]+)", re.MULTILINE)
MODULE = re.compile(r"`([\w/.]+)`")
STEP = re.compile(r"^ *(?:# Step )?(\d+)[.:] (.+)$", re.MULTILINE)


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of every function in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def number_of(place: str, name: str) -> object:
    """The number that the code has under a name; settings are at their defaults."""
    value: object = importlib.import_module(place)
    for part in name.split("."):
        value = getattr(value, part)
        value = value() if isinstance(value, type) else value
    return value.days if isinstance(value, dt.timedelta) else value


def test_threats_are_numbered_and_each_has_six_cells_and_a_test() -> None:
    rows = THREAT.findall(section("Threats"))
    # They keep their numbers; new ones are added to the table where they belong.
    numbers = sorted(int(name.removeprefix("T")) for name, _ in rows)
    assert numbers == list(range(1, len(rows) + 1))
    for name, cells in rows:
        parts = [part.strip() for part in cells.split("|")]
        assert len(parts) == 5, name
        assert all(parts), name
        assert TEST.search(parts[3]), name
        assert TEST.sub("", parts[3]).strip(", ") == "", name


def test_every_module_that_controls_a_threat_exists() -> None:
    missing = [
        (name, module)
        for name, cells in THREAT.findall(section("Threats"))
        for module in MODULE.findall(cells.split("|")[2].rpartition("(")[2])
        if not any(place.exists() for place in places_of(module))
    ]
    assert missing == []


def places_of(module: str) -> list[Path]:
    """Where a module may lie that is named without its ending, or a folder."""
    names = (module, f"{module}.py")
    return [ROOT / top / name for top in ("", "appliance") for name in names]


def test_every_boundary_is_guarded_by_what_exists() -> None:
    rows = re.findall(r"^\| B\d+ \|(.*)\|$", DOCUMENT, re.MULTILINE)
    named = [path for row in rows for path in MODULE.findall(row.split("|")[1])]
    assert len(named) >= len(rows)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_command_that_is_named_exists() -> None:
    programs = {
        "sallyport": typer.main.get_command(host_commands.make_app()),
        "sallyport-bundler": typer.main.get_command(publisher_commands.app),
    }
    named = COMMAND.findall(DOCUMENT)
    assert named
    assert [each for each in named if not is_command(programs[each[0]], each[1])] == []


def is_command(command: Any, line: str) -> bool:
    """Whether a line names a command of the program, and only its options."""
    words = line.split()
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            return False
        command = command.commands[words.pop(0)]
    known = {option for each in command.params for option in each.opts}
    return {word for word in words if word.startswith("--")} <= known


def test_every_test_that_is_named_exists() -> None:
    named = TEST.findall(DOCUMENT)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in functions_of(path)
    ]
    assert missing == []


def test_every_limit_is_the_codes_own() -> None:
    rows = [line for line in section("Limits").splitlines() if line.startswith("| ")]
    limits = LIMIT.findall(section("Limits"))
    assert len(limits) == len(rows) - 1  # the heading
    for what, digits, unit, _, place, name in limits:
        said = int(digits.replace(" ", "")) * UNITS[unit]
        assert number_of(place, name) == said, what


MAY_BE_NONE = {"spare_sequences", "spill_bytes", "draft_tokens", "top_logprobs"}
"""Settings where 0 is the least there can be of something, and no limit less."""


@pytest.mark.parametrize(
    "section_of_settings",
    [
        *(ServerSettings, EngineSettings, ModelSettings, LimitSettings),
        *(ImportSettings, LedgerSettings),
    ],
)
def test_no_setting_switches_a_limit_off(
    section_of_settings: type[BaseModel],
) -> None:
    with pytest.raises(ValidationError):
        section_of_settings.model_validate({"unlimited": True})
    # Of these 0 is a choice, and a list of names is no number.
    chosen = {"host", "port", "threads", "gpu_layers", "keep_alive_s", "pinned"}
    bounded = set(section_of_settings.model_fields) - chosen
    for name in bounded:
        nothing = () if name in MAY_BE_NONE else (0,)
        for value in (*nothing, -1, float("inf"), 2**51):
            with pytest.raises(ValidationError):
                section_of_settings.model_validate({name: value})


@pytest.mark.parametrize(
    ("heading", "source"),
    [
        ("Of a bundle", "bundleformat/verify.py"),
        ("Of an import", "appliance/import_flow.py"),
        ("Of an environment", "appliance/environments/install.py"),
        ("Of a rollback", "appliance/generation_flow.py"),
        ("Of a first installation", "bundler/installer/install.py"),
        ("Of a request", "appliance/request_flow.py"),
        ("Of an export", "appliance/ledger/exports/verifier.py"),
        ("Of receipts", "appliance/ledger/exports/receipt_verifier.py"),
        ("Of a cosignature", "appliance/witness_flow.py"),
    ],
)
def test_the_numbered_steps_are_those_of_the_code(heading: str, source: str) -> None:
    text = section("Verification steps").split(f"\n{heading}: ")[1].split("\nOf ")[0]
    assert f"`{source}`" in text
    written = STEP.findall(text)
    assert [int(number) for number, _ in written] == list(range(1, len(written) + 1))
    assert written == steps_of((ROOT / source).read_text(encoding="utf-8"))


def steps_of(code: str) -> list[tuple[str, str]]:
    """The numbered steps of a module: in its docstring, or else in its comments."""
    stated = STEP.findall(ast.get_docstring(ast.parse(code)) or "")
    comments = "\n".join(
        line.strip().removeprefix("# ")
        for line in code.splitlines()
        if line.strip().startswith("# ")
    )
    found = stated or re.findall(
        r"^(?:Step )?(\d+)[.:] (.+)$", comments, flags=re.MULTILINE
    )
    return [(number, words.replace("``", "`")) for number, words in found]


def test_every_weakness_that_is_referred_to_is_described() -> None:
    described = re.findall(r"^- \*\*(W\d+)\.", DOCUMENT, re.MULTILINE)
    assert described == [f"W{n}" for n in range(1, len(described) + 1)]
    assert set(re.findall(r"\bW\d+\b", DOCUMENT)) == set(described)
