"""The report's tables answer who used what with which data, and what was refused."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from appliance.audit_formats.calls import (
    ELSEWHERE,
    MAX_CODES,
    MAX_IDS,
    MAX_OF_A_CODE,
    MAX_OPEN,
    MAX_USES,
    OTHERS,
    Calls,
    Used,
)
from appliance.audit_formats.record import AuditRecord
from appliance.audit_formats.report_tables import tables
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from tests.support.audit_samples import DENIED, DRAFTS, records
from tests.support.ledgers import SHA, refusal, request, response


def _calls(given: Iterable[AuditRecord]) -> Calls:
    calls = Calls()
    for record in given:
        calls.take(record)
    return calls


def _rows(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(<td>.*?)</tr>", text)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def _asked(request_id: str, **changed: JSON) -> Draft:
    draft = request(request_id)
    return dataclasses.replace(draft, fields={**draft.fields, **changed})


def _many(each: Mapping[str, JSON], count: int) -> list[AuditRecord]:
    return [
        AuditRecord(seq=n, leaf="", fields={**each, "seq": str(n)}, size_bytes=0)
        for n in range(count)
    ]


def test_tokens_are_told_by_the_model_and_the_class_of_the_request() -> None:
    drafts = [
        request("r1"),
        _asked("r2", labels={"class": "public"}),
        response("r2", parent=1),
        _asked("r3", model={"name": "other", "sha256": SHA}),
        response("r1", parent=0),
        request("r4"),
        response("r4", parent=5),
        request("r5", team="legal"),
    ]
    assert _rows(tables(_calls(records(drafts)))) == [
        [
            *("claims", "demo", "pii", "2", "24", "6"),
            *("2026-11-22 08:04:29", "2026-11-28 08:04:29"),
        ],
        [
            *("claims", "demo", "public", "1", "12", "3"),
            *("2026-11-23 08:04:29", "2026-11-24 08:04:29"),
        ],
        [
            *("claims", "other", "pii", "1", "0", "0"),
            *("2026-11-25 08:04:29", "2026-11-25 08:04:29"),
        ],
        [
            *("legal", "demo", "pii", "1", "0", "0"),
            *("2026-11-29 08:04:29", "2026-11-29 08:04:29"),
        ],
    ]


def test_the_answer_to_a_request_that_is_elsewhere_is_told_as_that() -> None:
    calls = _calls(records([response("r1", parent=7)]))
    assert list(calls.uses) == [Used("claims", ELSEWHERE, ELSEWHERE)]
    assert [(u.calls, u.completion_tokens) for u in calls.uses.values()] == [(0, 3)]


def test_refusals_are_listed_with_who_what_and_why() -> None:
    rows = _rows(tables(_calls(records())))
    assert rows[-2:] == [
        [
            *("3", "2026-11-25 08:04:29", "none", "none", "none", "none"),
            *("unknown-key", "none", "1"),
        ],
        [
            *("4", "2026-11-26 08:04:29", "claims", "W1sF0wRy"),
            *("unknown, SHA-256 abababababab…", "pii", "policy-denied"),
            *("core-region site-2", "3"),
        ],
    ]


def test_no_cell_can_become_markup() -> None:
    bad = "</td><script>alert(1)</script>"
    hostile: dict[str, JSON] = {
        **DENIED.fields,
        "code": bad,
        "actor": {"key_id": bad},
        "model": {"name": bad},
        "labels": {"class": bad},
        "policy": {"decision": "deny", "ids": (bad,)},
    }
    drafts = [
        dataclasses.replace(DENIED, team=bad, fields=hostile),
        dataclasses.replace(
            _asked("r1", labels={"class": bad}, model={"name": bad, "sha256": SHA}),
            team=bad,
        ),
    ]
    text = tables(_calls(records(drafts)))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 9
    assert [len(row) for row in _rows(text)] == [8, 9]


def test_a_flood_of_one_code_hides_no_refusal_of_another() -> None:
    flood = [refusal() for _ in range(MAX_OF_A_CODE + 40)]
    calls = _calls(records([*flood, DENIED]))
    assert len(calls.listed) == MAX_OF_A_CODE + 1
    assert calls.listed[-1].code == "policy-denied"
    assert calls.unlisted == {"invalid-api-key": 40}
    assert "40 more are not listed here (40 invalid-api-key)" in tables(calls)


def test_what_a_record_left_out_is_counted_where_it_is_not_listed() -> None:
    drafts = [DENIED] * (MAX_OF_A_CODE + 2)
    assert _calls(records(drafts)).unlisted == {"policy-denied": 6}


def test_codes_beyond_the_limit_are_counted_together() -> None:
    drafts = [refusal(f"code-{n}") for n in range(MAX_CODES + 3)]
    calls = _calls(records(drafts))
    assert len(calls.listed) == MAX_CODES
    assert calls.unlisted == {OTHERS: 3}


def test_only_so_many_policies_of_a_refusal_are_named() -> None:
    ids = tuple(f"site-{n}" for n in range(MAX_IDS + 2))
    policy: JSON = {"decision": "deny", "ids": ids}
    fields: dict[str, JSON] = {**DENIED.fields, "policy": policy}
    text = tables(_calls(records([dataclasses.replace(DENIED, fields=fields)])))
    assert "site-7 and 2 more</td>" in text
    assert "site-8" not in text


def test_uses_beyond_the_limit_are_counted_together() -> None:
    drafts = [request(f"r{n}", team=f"team-{n}") for n in range(MAX_USES + 3)]
    calls = _calls(records(drafts))
    assert len(calls.uses) == MAX_USES + 1
    assert calls.uses[Used(OTHERS, OTHERS, OTHERS)].calls == 3


def test_of_requests_without_an_end_the_oldest_are_forgotten() -> None:
    team: dict[str, JSON] = {"team": "claims"}
    asked: dict[str, JSON] = {**team, "event": "llm.request", "model": {"name": "demo"}}
    ended: dict[str, JSON] = {**team, "event": "llm.response", "prompt_tokens": 1}
    calls = _calls(_many(asked, MAX_OPEN + 1))
    for parent in (0, MAX_OPEN):
        calls.take(_many({**ended, "parent": str(parent)}, 1)[0])
    assert calls.uses[Used("claims", "demo", "")].calls == MAX_OPEN + 1
    assert calls.uses[Used("claims", "demo", "")].prompt_tokens == 1
    assert calls.uses[Used("claims", ELSEWHERE, ELSEWHERE)].prompt_tokens == 1


def test_a_clock_that_was_set_back_changes_no_first_and_last_time() -> None:
    asked = {"event": "llm.request", "team": "claims"}
    calls = Calls()
    for moment in ("2026-11-22T08:00:00Z", "2026-11-21T08:00:00Z"):
        calls.take(_many({**asked, "ts": moment}, 1)[0])
    (usage,) = calls.uses.values()
    assert (usage.first, usage.last) == (
        "2026-11-21T08:00:00Z",
        "2026-11-22T08:00:00Z",
    )


def test_records_of_no_call_make_no_table() -> None:
    others = [d for d in DRAFTS if not d.event.startswith("llm.")]
    aborted = Draft(
        event=Event.LLM_ABORTED,
        outcome=Outcome.ABORTED,
        team="claims",
        request_id="r1",
        fields={"parent": "9", "reason": "crash"},
    )
    assert tables(_calls(records([*others, aborted]))) == ""
