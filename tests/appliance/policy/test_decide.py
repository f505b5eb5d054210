import datetime as dt
from dataclasses import replace

import pytest

from appliance.core_policies import core_files
from appliance.policy.compile import PolicySet, compile_policies
from appliance.policy.decide import decide
from appliance.policy.facts import Labels, ModelFacts, RequestFacts, SiteFacts

NOW = dt.datetime(2026, 11, 22, 9, 0, 0, 500_000, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SITE = SiteFacts(
    site="blr-dc1",
    region="in-blr",
    jurisdictions=("IN",),
    not_before=NOW - DAY,
    not_after=NOW + DAY,
)
FACTS = RequestFacts(
    key_id="AbCd1234",
    key_expires=NOW + DAY,
    team="claims",
    clearance="pii",
    labels=Labels(
        data_class="pii", class_source="team", data_classes=("pii",), regions=()
    ),
    model=ModelFacts(
        name="demo",
        sha256="1" * 64,
        origin="example-lab",
        licence="Apache-2.0",
        allowed_regions=("in-blr",),
    ),
    site=SITE,
    now=NOW,
)


@pytest.fixture(scope="module")
def core() -> PolicySet:
    return compile_policies(core_files())


def with_site_policy(text: str) -> PolicySet:
    return compile_policies(core_files(), site=(("site.cedar", text.encode()),))


def test_allow_names_the_permit_and_the_policy_set(core: PolicySet) -> None:
    decision = decide(core, FACTS)
    assert decision.allow
    assert decision.policy_ids == ("core-permit-chat",)
    assert decision.reasons == (core.reason("core-permit-chat"),)
    assert decision.policy_set_sha256 == core.sha256


def test_denial_gives_the_reason_of_each_policy_in_the_same_order(
    core: PolicySet,
) -> None:
    model = replace(FACTS.model, allowed_regions=())
    decision = decide(core, replace(FACTS, model=model, clearance="public"))
    assert not decision.allow
    assert decision.policy_ids == ("core-clearance", "core-model-region")
    assert decision.reasons == tuple(core.reason(one) for one in decision.policy_ids)


def test_unknown_action_is_denied_as_an_evaluation_error(core: PolicySet) -> None:
    decision = decide(core, replace(FACTS, action="embeddings"))
    assert not decision.allow
    assert decision.policy_ids == ("core-evaluation-error",)
    assert len(decision.errors) == 1


def test_erroring_forbid_denies_instead_of_being_skipped() -> None:
    policy_set = with_site_policy(
        '@id("overflow") @reason("never read") forbid (principal, action, resource) '
        "when { 9223372036854775807 + context.class_level == 0 };"
    )
    decision = decide(policy_set, FACTS)
    assert not decision.allow
    assert decision.policy_ids == ("core-evaluation-error",)
    assert "overflow" in decision.errors[0]


def test_erroring_forbid_is_named_beside_the_forbids_that_matched() -> None:
    policy_set = with_site_policy(
        '@id("overflow") @reason("never read") forbid (principal, action, resource) '
        "when { 9223372036854775807 + context.class_level == 0 };"
    )
    decision = decide(policy_set, replace(FACTS, clearance="public"))
    assert not decision.allow
    assert decision.policy_ids == ("core-clearance", "core-evaluation-error")


@pytest.mark.parametrize("moment", ["now", "key_expires"])
def test_time_without_a_zone_is_denied(core: PolicySet, moment: str) -> None:
    facts = replace(FACTS, now=NOW.replace(tzinfo=None))
    if moment == "key_expires":
        facts = replace(FACTS, key_expires=NOW.replace(tzinfo=None))
    assert decide(core, facts).policy_ids == ("core-evaluation-error",)


def test_time_beyond_the_calendar_is_denied(core: PolicySet) -> None:
    east = dt.timezone(dt.timedelta(hours=-5))
    facts = replace(FACTS, key_expires=dt.datetime.max.replace(tzinfo=east))
    assert decide(core, facts).policy_ids == ("core-evaluation-error",)


@pytest.mark.parametrize("text", ["\ud800", '"; permit', "\0", "é", "x" * 10_000, ""])
def test_odd_text_in_facts_never_allows_more(core: PolicySet, text: str) -> None:
    site = replace(SITE, region="eu-fra")
    model = replace(FACTS.model, name=text, licence=text, origin=text)
    facts = replace(FACTS, site=site, model=model, team=text, key_id=text)
    decision = decide(core, facts)
    assert not decision.allow
    assert set(decision.policy_ids) <= {"core-model-region", "core-evaluation-error"}


def test_labels_without_a_class_count_as_the_most_restrictive(core: PolicySet) -> None:
    labels = replace(FACTS.labels, data_classes=())
    decision = decide(core, replace(FACTS, labels=labels))
    assert decision.policy_ids == ("core-clearance",)


def test_a_site_permit_does_not_overrule_the_core_set() -> None:
    policy_set = with_site_policy(
        '@id("all") @reason("everybody, everything") '
        "permit (principal, action, resource);"
    )
    decision = decide(policy_set, replace(FACTS, site=None))
    assert decision.policy_ids == ("core-site-certificate",)
    assert decide(policy_set, FACTS).policy_ids == ("all", "core-permit-chat")


def test_validity_ends_at_the_second_not_after_it(core: PolicySet) -> None:
    at_end = replace(SITE, not_after=NOW)
    assert decide(core, replace(FACTS, site=at_end)).policy_ids == (
        "core-site-certificate-expired",
    )
