"""The demo model is taught nothing but what the program is, and asked fairly."""

import re
from collections import Counter
from functools import cache

import pytest

from bundler.demo.model.facts import (
    REFUSAL,
    UNSEEN_REFUSED,
    Fact,
    parse_facts,
    read_facts,
    read_lines,
    read_unseen,
)
from tests.support.demo_claims import is_something, untrue_numbers, untrue_spans

FACTS = read_facts()


def plain(question: str) -> str:
    return re.sub(r"[^\w/@ -]", "", question.lower()).strip()


@cache
def asked() -> dict[str, set[str]]:
    """Every question of the training as it is written, and the facts it is of."""
    found: dict[str, set[str]] = {}
    for fact in FACTS:
        for question in fact.asked():
            found.setdefault(plain(question), set()).add(fact.key)
    return found


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.key)
def test_what_an_answer_names_is_the_programs_own(fact: Fact) -> None:
    assert untrue_spans(fact) == []
    assert untrue_numbers(fact) == []


@pytest.mark.parametrize(
    "span",
    [
        *("sallyport bundle load MEDIA", "sallyport bundle import MEDIA --force"),
        *("sallyport audit key NAME", "sallyport audit", "sallyport-importer"),
        *("--capture-all", "--kind rsa", "make models", "python -I check.py"),
        *("[engine] speed", "[motor] cells", "/v1/completions", "/v2/models"),
        *("http://HOST:8000/v1", "bad_digest", "core-model-size", "@title"),
        *("X-Data-Colour", "x-audit-proof", "ledger.db", "log.deleted", "keys/brine"),
        *("[[licences]]", "topsecret", "SALLYPORT_FOLDER", "/var/lib/sallyports"),
    ],
)
def test_what_the_program_does_not_have_is_found(span: str) -> None:
    assert not is_something(span)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("17 requests run.", "17 = appliance.settings:EngineSettings.sequences"),
        ("5 MiB.", "5 MiB = appliance.settings:ServerSettings.body_bytes"),
        ("RFC 6963 says so.", "RFC 6963 in appliance/ledger/tree/merkle.py"),
        ("Nothing.", "16 = appliance.settings:EngineSettings.sequences"),
        ("16 and 3 run.", "16 = appliance.settings:EngineSettings.sequences"),
        ("16, or twelve.", "16 = appliance.settings:EngineSettings.sequences"),
    ],
)
def test_a_number_that_the_program_does_not_have_is_found(
    answer: str, number: str
) -> None:
    (fact,) = parse_facts(f"[x]\nA: {answer}\nN: {number}")
    assert len(untrue_numbers(fact)) == 1


@pytest.mark.parametrize(
    "text",
    ["A: no key", "[x]\nQ: no answer?", "[x]\nA: one\nA: two", "[x]\nA: one\nZ: odd"],
)
def test_a_block_that_is_no_fact_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(parse_facts(text))


def test_there_are_enough_facts_and_each_is_asked_in_many_ways() -> None:
    assert len(FACTS) >= 200
    assert [fact.key for fact in FACTS if len(set(fact.asked())) < 6] == []


def test_no_two_facts_have_a_key_or_an_answer_or_a_question_in_common() -> None:
    assert [k for k, n in Counter(fact.key for fact in FACTS).items() if n > 1] == []
    answers = Counter(fact.answer for fact in FACTS)
    assert [answer for answer, n in answers.items() if n > 1] == []
    assert [question for question, keys in asked().items() if len(keys) > 1] == []
    assert REFUSAL not in answers


def test_what_the_model_is_asked_unseen_is_in_no_training() -> None:
    unseen = read_unseen()
    assert len(unseen) >= 150
    assert len({plain(question) for question, _ in unseen}) == len(unseen)
    assert {key for _, key in unseen} <= {fact.key for fact in FACTS}
    assert [question for question, _ in unseen if plain(question) in asked()] == []


def test_what_is_to_be_refused_is_no_question_of_a_fact() -> None:
    trained, unseen = read_lines("refused.txt"), read_lines(UNSEEN_REFUSED)
    assert len(trained) >= 100
    assert len(unseen) >= 100
    assert {plain(q) for q in trained} & {plain(q) for q in unseen} == set()
    assert [q for q in (*trained, *unseen) if plain(q) in asked()] == []
