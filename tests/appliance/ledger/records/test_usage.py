"""The tokens a team has used are those of its records."""

import datetime as dt

from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.usage import tokens_by_team
from appliance.ledger.recover import abort_open_requests
from tests.support.ledgers import NOW, Ledger, request, response
from tests.support.retention import prune


def used(ledger: Ledger, *, since: dt.datetime = NOW) -> dict[str, int]:
    with ledger.engine.connect() as connection:
        return dict(tokens_by_team(connection, since=since))


def test_a_ledger_without_requests_has_no_usage(ledger: Ledger) -> None:
    assert used(ledger) == {}


def test_prompts_and_answers_are_summed_for_each_team(ledger: Ledger) -> None:
    for name, team in (("a", "claims"), ("b", "claims"), ("c", "audit")):
        (opened,) = ledger.append([request(name, team=team)])
        ledger.append([response(name, parent=opened.seq, team=team)])
    one = response("x", parent=0).fields
    each = int(str(one["prompt_tokens"])) + int(str(one["completion_tokens"]))
    assert each > 0
    assert used(ledger) == {"claims": 2 * each, "audit": each}


def test_what_ended_before_does_not_count(ledger: Ledger) -> None:
    (opened,) = ledger.append([request("a")])
    ledger.append([response("a", parent=opened.seq)])
    assert used(ledger, since=NOW + dt.timedelta(microseconds=1)) == {}


def test_a_request_that_a_crash_cut_short_counts_with_all_it_asked_for(
    ledger: Ledger,
) -> None:
    ledger.append([request("a")])
    assert used(ledger) == {}
    with ledger.engine.begin() as connection:
        abort_open_requests(connection, log=ledger.log, keys=ledger.keys, now=NOW)
    assert used(ledger) == {"claims": 12 + 16}


def test_a_refusal_uses_nothing(ledger: Ledger) -> None:
    refused = Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.REFUSED,
        team="claims",
        request_id="r",
        fields={"code": "rate-limit-exceeded", "status": 429},
    )
    ledger.append([refused])
    assert used(ledger) == {}


def test_what_was_pruned_counts_nothing_and_hinders_nobody(ledger: Ledger) -> None:
    for name in ("a", "b"):
        (opened,) = ledger.append([request(name)])
        ledger.append([response(name, parent=opened.seq)])
    assert prune(ledger, most=2) == 2
    assert used(ledger) == {"claims": 15}
