"""Presets, the longest minimum, and what contradicts itself."""

from pathlib import Path

import pytest

from bundleformat.retention import (
    ONE_YEAR,
    PRESETS,
    SIX_MONTHS,
    SIX_YEARS,
    Kept,
    Retention,
    period,
)

NAMES = {Kept.RECORD: "records", Kept.BODY: "bodies"}


@pytest.mark.parametrize("kept", list(Kept))
def test_nothing_ends_where_no_preset_is_named(kept: Kept) -> None:
    assert period(None, kept).days is None
    assert (
        period(Retention(presets=(), records_days=1, bodies_days=1), kept).days is None
    )


@pytest.mark.parametrize("kept", list(Kept))
def test_a_preset_that_is_not_known_lets_nothing_end(kept: Kept) -> None:
    found = period(Retention(presets=("hipaa", "later"), records_days=9), kept)
    assert found.days is None
    assert "later" in found.conflicts[0]


def test_what_cannot_both_be_kept_to_is_named_with_both_sources() -> None:
    found = period(Retention(presets=("dpdp", "hipaa")), Kept.RECORD)
    (conflict,) = found.conflicts
    assert "rule 8(3)" in conflict
    assert "164.316(b)(2)(i)" in conflict
    # Texts are another matter: only one of the two speaks of them.
    assert period(Retention(presets=("dpdp", "hipaa")), Kept.BODY).conflicts == ()


def test_days_of_the_certificate_contradict_an_end_as_well() -> None:
    longer = Retention(presets=("dpdp",), records_days=400, bodies_days=400)
    for kept in Kept:
        assert "certificate" in period(longer, kept).conflicts[0]


@pytest.mark.parametrize(
    ("presets", "days"),
    [
        (("eu-ai-act",), SIX_MONTHS),
        (("hipaa",), SIX_YEARS),
        (("dpdp", "eu-ai-act", "ism", "pci"), ONE_YEAR),
        (("eu-ai-act", "hipaa", "pci"), SIX_YEARS),
    ],
)
def test_the_longest_minimum_holds(presets: tuple[str, ...], days: int) -> None:
    found = period(Retention(presets=presets), Kept.RECORD)
    assert (found.days, found.conflicts) == (days, ())


def test_a_certificate_can_lengthen_a_period_and_never_shorten_it() -> None:
    for own, days in ((1, ONE_YEAR), (2_000, 2_000)):
        found = period(Retention(presets=("pci",), records_days=own), Kept.RECORD)
        assert found.days == days


def test_texts_of_which_no_preset_speaks_end_only_where_the_certificate_says() -> None:
    assert period(Retention(presets=("hipaa",)), Kept.BODY).days is None
    said = Retention(presets=("hipaa",), bodies_days=180)
    assert period(said, Kept.BODY).days == 180
    assert period(Retention(presets=("dpdp",)), Kept.BODY).days == ONE_YEAR


def test_every_rule_names_its_source_and_what_it_asks() -> None:
    rules = [rule for preset in PRESETS.values() for rule in preset.rules]
    assert all(rule.source and rule.asks and rule.days >= SIX_MONTHS for rule in rules)


def test_the_page_lists_every_rule_with_its_source() -> None:
    page = (Path(__file__).parents[2] / "docs" / "retention.md").read_text("utf-8")
    found = page.partition("<!-- presets:begin")[2].partition("<!-- presets:end")[0]
    rows = [
        f"| `{name}` | {NAMES[rule.kept]} "
        f"| at {'most' if rule.erase else 'least'} {rule.days} "
        f"| {rule.asks} | {rule.source} |"
        for name, preset in PRESETS.items()
        for rule in preset.rules
    ]
    assert found.strip().splitlines()[3:] == rows
