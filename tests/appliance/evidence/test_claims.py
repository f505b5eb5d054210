"""No claim without a proof that exists, no requirement without an answer or a gap."""

import ast
from functools import cache
from pathlib import Path

import pytest

from appliance.evidence.claims import CLAIMS
from appliance.evidence.frameworks import FRAMEWORKS, check_names
from appliance.ledger.records.catalogue import Event
from bundleformat.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _functions_of(path: str) -> tuple[Function, ...]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return tuple(node for node in ast.walk(tree) if isinstance(node, Function))


def _tests_of(path: str) -> frozenset[str]:
    return frozenset(node.name for node in _functions_of(path))


@pytest.mark.parametrize("names", [("iso-9001",), ("pci", "PCI"), ("\x1b[2J",)])
def test_a_framework_that_is_not_here_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        check_names(names)
    assert caught.value.where == "--framework"


def test_a_framework_that_is_named_twice_is_taken_once() -> None:
    assert check_names(("pci", "dpdp", "pci")) == ("pci", "dpdp")


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_points_at_tests_and_records_that_exist(name: str) -> None:
    claim = CLAIMS[name]
    assert claim.tests
    for test in claim.tests:
        path, _, function = test.partition("::")
        assert function in _tests_of(path), test
    assert set(claim.events) <= {str(event) for event in Event}


@pytest.mark.parametrize("name", CLAIMS)
def test_every_record_of_a_claim_is_looked_at_by_one_of_its_tests(name: str) -> None:
    claim = CLAIMS[name]
    looked = "".join(_source_of(test) for test in claim.tests)
    for event in claim.events:
        assert f"'{event}'" in looked or f"Event.{Event(event).name}" in looked, event


def _source_of(test: str) -> str:
    """What a test does, with every string in single quotes."""
    path, _, function = test.partition("::")
    (found,) = (node for node in _functions_of(path) if node.name == function)
    return ast.unparse(found)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_requirement_is_answered_or_said_not_to_be(name: str) -> None:
    requirements = FRAMEWORKS[name].requirements
    assert len({each.control for each in requirements}) == len(requirements)
    for each in requirements:
        assert set(each.claims) <= set(CLAIMS), each.control
        assert each.claims or each.left, each.control
        assert each.answered == (
            "no" if not each.claims else "in part" if each.left else "yes"
        )


def test_every_claim_is_asked_for_by_somebody() -> None:
    asked = {
        claim
        for framework in FRAMEWORKS.values()
        for each in framework.requirements
        for claim in each.claims
    }
    assert asked == set(CLAIMS)
