"""The catalogue holds no dead entries: what it lists, some code of ours writes."""

import ast
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


def emitted() -> set[str]:
    """The events that are an argument of a call, as of ``Draft``; not compared."""
    arguments = (
        argument
        for node in nodes()
        if isinstance(node, ast.Call)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
    )
    return {
        argument.attr
        for argument in arguments
        if isinstance(argument, ast.Attribute)
        and isinstance(argument.value, ast.Name)
        and argument.value.id == "Event"
    }


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
    assert event.name in emitted()


def test_every_field_is_written_somewhere() -> None:
    fields = listed()
    assert {"channel", "prompt_tokens", "set_sha256"} <= fields
    assert fields - written() == set()
