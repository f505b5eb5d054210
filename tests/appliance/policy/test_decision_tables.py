from functools import cache

import pytest

from appliance.core_policies import core_files
from appliance.policy.compile import PolicyFiles, PolicySet, compile_policies
from appliance.policy.decide import decide
from appliance.resources import folder
from tests.support.decision_table import (
    Row,
    facts_of,
    read_table,
    table_paths,
)

ROWS = [row for path in table_paths() for row in read_table(path)]


@cache
def compiled(site: PolicyFiles) -> PolicySet:
    return compile_policies(core_files(), site=site)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.table}: {row.name}")
def test_decision_is_the_one_in_the_table(row: Row) -> None:
    policy_set = compiled(row.site)
    decision = decide(policy_set, facts_of(row.given, policy_set.classes))
    assert decision.allow is row.allow
    assert decision.policy_ids == row.policies
    assert decision.errors == ()
    assert decision.policy_set_sha256 == policy_set.sha256
    assert len(decision.reasons) == len(row.policies)
    assert all(decision.reasons)


def test_every_core_policy_and_every_example_policy_decides_some_row() -> None:
    for site in {row.site for row in ROWS}:
        decided = {
            policy for row in ROWS if row.site == site for policy in row.policies
        }
        own = {
            rule.policy_id
            for rule in compiled(site).rules
            if not site or not rule.policy_id.startswith("core-")
        }
        assert own <= decided


def test_every_example_has_a_table() -> None:
    examples = {path.stem for path in (folder("policies") / "examples").glob("*.cedar")}
    assert {row.table for row in ROWS} == examples | {"core"}
