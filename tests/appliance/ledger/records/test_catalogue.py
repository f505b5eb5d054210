"""The catalogue holds no dead entries: what it lists, some code of ours writes."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

import appliance
from appliance.ledger.records import catalogue
from appliance.ledger.records.catalogue import Event

CATALOGUE = Path(catalogue.__file__)
PACKAGE = Path(appliance.__file__).parent


@cache
def nodes() -> tuple[ast.AST, ...]:
    """Every node of the appliance's code but the catalogue's own."""
    return tuple(
        node
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != CATALOGUE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def emitted(code: Iterable[ast.AST]) -> set[str]:
    """The events that ``code`` hands to a call, as to ``Draft``, or has as a default.

    Not those that it only looks for: they are compared, or turned into text.
    """
    found: set[str] = set()
    for node in code:
        if isinstance(node, ast.Call) and not is_text(node.func):
            handed = (*node.args, *(keyword.value for keyword in node.keywords))
            found.update(*map(event_of, handed))
        elif isinstance(node, ast.arguments):
            found.update(*map(event_of, (*node.defaults, *node.kw_defaults)))
        elif isinstance(node, ast.ClassDef):
            fields = (each for each in node.body if isinstance(each, ast.AnnAssign))
            found.update(*(event_of(each.value) for each in fields))
    return found


def is_text(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id == "str"


def event_of(node: ast.expr | None) -> set[str]:
    """The event that an expression names, if it is one."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return set()
    return {node.attr} if node.value.id == "Event" else set()


def keys_of(mapping: ast.AST) -> set[str]:
    """The names that a dictionary in the code spells out."""
    if not isinstance(mapping, ast.Dict):
        return set()
    return {
        key.value
        for key in mapping.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def written() -> set[str]:
    """The names that dictionaries are given anywhere in the code."""
    stored = {
        node.slice.value
        for node in nodes()
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    }
    return stored.union(*(keys_of(node) for node in nodes()))


def listed() -> set[str]:
    """The names of every field in the catalogue."""
    tree = ast.parse(CATALOGUE.read_text(encoding="utf-8"))
    return set().union(*(keys_of(node) for node in ast.walk(tree)))


@pytest.mark.parametrize("event", list(Event))
def test_every_event_is_emitted_somewhere(event: Event) -> None:
    assert event.name in emitted(nodes())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("Draft(event=Event.A, outcome=Outcome.OK)", {"A"}),
        ("draft(Event.A)", {"A"}),
        ("@dataclass\nclass Step:\n    event: Event = Event.A", {"A"}),
        ("def step(event: Event = Event.A): ...", {"A"}),
        ("def step(*, name: str, event: Event = Event.A): ...", {"A"}),
        ("record.event == Event.A", set()),
        ("row.where(RecordRow.event == str(Event.A))", set()),
        ("CLOSING = (Event.A, Event.B)", set()),
        ("class Seen:\n    events: tuple[Event, ...] = (Event.A,)", set()),
    ],
)
def test_an_event_counts_where_it_is_written_and_not_where_it_is_looked_for(
    code: str, found: set[str]
) -> None:
    assert emitted(ast.walk(ast.parse(code))) == found


OF_NOBODY = {
    *("log.created", "log.low", "log.recovered", "log.halted", "log.resumed"),
    *("key.rotate", "clock.step", "model.taken_out", "siem.gap"),
    *("server.started", "server.stopped", "engine.crashed"),
    *("llm.request", "llm.response", "llm.refused", "llm.aborted"),
}
"""What the host does by itself, or for a caller, whom ``actor`` names."""

OF_AN_IMPORT = {
    *("bundle.verified", "bundle.copied", "bundle.examined", "bundle.loaded"),
    *("bundle.policies_checked", "bundle.environments_installed", "bundle.admitted"),
}
"""Steps before ``bundle.imported`` or ``bundle.refused``, which name who imports."""


@pytest.mark.parametrize("event", list(Event))
def test_the_record_of_what_a_person_does_can_name_who(event: Event) -> None:
    refused = ""
    try:
        catalogue.CATALOGUE[event].fields({"operator_uid": 1000}, "record")
    except ValueError as error:
        refused = str(error)
    assert ("no field" in refused) == (event in OF_NOBODY | OF_AN_IMPORT)


def test_every_field_is_written_somewhere() -> None:
    fields = listed()
    assert {"channel", "prompt_tokens", "set_sha256"} <= fields
    assert fields - written() == set()
