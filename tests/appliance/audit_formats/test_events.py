"""OCSF events pass the published schema, and RFC 5424 lines are what they must be."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rfc8785

from appliance.audit_formats.ocsf import NOT_RECORDED, ocsf_event, ocsf_line
from appliance.audit_formats.ocsf_classes import EVENTS, SUBJECTS
from appliance.audit_formats.record import AuditRecord, read_record
from appliance.audit_formats.syslog import MAX_SEQUENCE_ID, syslog_line
from appliance.ledger.records.catalogue import Event
from tests.support.audit_samples import ORIGIN, bare_records, records
from tests.support.ledgers import SHA, TOOL

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "ocsf"
SCHEMA = json.loads((VECTORS / "ocsf-1.8.0.schema.json").read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) "
    rb"sallyport - ([!-~]{1,32}) "
    rb'\[origin software="sallyport" swVersion="test"\]\[meta sequenceId="(\d+)"\] '
    rb"([ -~]+)"
)
"""HEADER, STRUCTURED-DATA and MSG of RFC 5424, as far as we use them."""


def _faults(event: dict[str, Any]) -> list[str]:
    return [
        f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}"
        for fault in VALIDATOR.iter_errors(event)
    ]


def _unknown(event: str) -> AuditRecord:
    fields = {"seq": "5", "ts": "2026-11-22T08:04:29Z", "log": ORIGIN}
    return read_record(rfc8785.dumps({**fields, "event": event, "outcome": "ok"}))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "secret"},
        {"activity_id": 7},
        {"class_uid": 6001},
        {"time": "2026-11-22"},
        {"metadata": {}},
        {"actor": {}},
        {"api": {}},
        {"src_endpoint": {"ip": "here"}},
    ],
)
def test_the_schema_refuses_what_is_no_event(change: dict[str, Any]) -> None:
    event = ocsf_event(records()[0], tool=TOOL)
    assert _faults(event) == []
    assert _faults(event | change) != []


@pytest.mark.parametrize("name", ["class_uid", "metadata", "api", "src_endpoint"])
def test_the_schema_asks_for_what_is_required(name: str) -> None:
    event = ocsf_event(records()[0], tool=TOOL)
    assert _faults({key: value for key, value in event.items() if key != name}) != []


def test_the_schema_allows_a_profiles_attributes_with_the_profile_alone() -> None:
    event = ocsf_event(records()[0], tool=TOOL)
    event["metadata"]["profiles"].remove("ai_operation")
    assert _faults(event) != []


@pytest.mark.parametrize(
    "record", [*records(), *bare_records()], ids=lambda each: each.text("event")
)
def test_every_record_is_an_event_of_the_schema(record: AuditRecord) -> None:
    event = ocsf_event(record, tool=TOOL)
    assert _faults(event) == []
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert json.loads(ocsf_line(record, tool=TOOL)) == event


@pytest.mark.parametrize("name", ["siem.gap", "log.read", "key.made", "odd", "x.y"])
def test_an_event_of_a_later_release_is_not_lost(name: str) -> None:
    event = ocsf_event(_unknown(name), tool=TOOL)
    assert _faults(event) == []
    assert event["metadata"]["event_code"] == name


def test_every_event_of_the_catalogue_has_a_class_of_its_own() -> None:
    names = {str(event) for event in Event}
    assert set(EVENTS) <= names
    assert {name.partition(".")[0] for name in names} <= set(SUBJECTS)


def test_a_call_is_api_activity_with_its_model_tokens_and_decision() -> None:
    asked, answered, *_ = (ocsf_event(each, tool=TOOL) for each in records())
    assert asked["type_uid"] == answered["type_uid"] == 600399
    assert asked["ai_model"] == {
        "ai_provider": "Sallyport",
        "name": "demo",
        "uid": SHA,
        "version": "1",
    }
    assert (asked["disposition"], asked["policy"]["uid"]) == ("Allowed", "base")
    assert answered["message_context"]["total_tokens"] == 15
    assert (answered["api"]["response"]["code"], answered["duration"]) == (200, 9)
    assert asked["metadata"]["correlation_uid"] == "r1"
    assert asked["src_endpoint"] == {"name": NOT_RECORDED}


def test_a_refusal_is_blocked_and_names_the_policies() -> None:
    refused = ocsf_event(records()[4], tool=TOOL)
    assert (refused["status"], refused["disposition"]) == ("Failure", "Blocked")
    assert refused["policy"]["uid"] == "core-region,site-2"
    assert refused["authorizations"][0]["decision"] == "deny"
    assert refused["severity"] == "Low"


def test_an_event_leads_back_to_its_record_and_loses_none_of_its_fields() -> None:
    for record in records():
        event = ocsf_event(record, tool=TOOL)
        unmapped = event["unmapped"]
        assert (unmapped["seq"], unmapped["leaf"]) == (str(record.seq), record.leaf)
        assert unmapped["convenience_copy_of"] == "records.jsonl"
        own = {"v", "seq", "ts", "log", "event", "outcome", "team", "request_id"}
        assert (
            unmapped.items()
            >= {
                name: value for name, value in record.fields.items() if name not in own
            }.items()
        )
        metadata = event["metadata"]
        assert metadata["log_name"] == record.fields["log"]
        assert metadata.get("tenant_uid") == record.fields.get("team")


def test_a_line_is_an_rfc_5424_message_of_the_log_audit_facility() -> None:
    for number, record in enumerate(records(), start=1):
        found = MESSAGE.fullmatch(syslog_line(record, tool=TOOL, number=number))
        assert found is not None
        priority, ts, host, event, sequence, message = found.groups()
        assert int(priority) // 8 == 13
        assert int(priority) % 8 == {"ok": 6, "allowed": 6}.get(
            record.text("outcome"), 4 if record.text("outcome") == "aborted" else 5
        )
        assert (ts.decode(), host.decode()) == (record.text("ts"), ORIGIN)
        assert (event.decode(), int(sequence)) == (record.text("event"), number)
        assert json.loads(message) == ocsf_event(record, tool=TOOL)


def test_a_short_event_leads_to_its_record_and_says_that_it_is_short() -> None:
    for record in records():
        whole = ocsf_event(record, tool=TOOL)
        short = ocsf_event(record, tool=TOOL, brief=True)
        assert _faults(short) == []
        assert short["metadata"]["is_truncated"] is True
        assert short["metadata"]["untruncated_size"] == record.size_bytes
        assert set(short["unmapped"]) == {"convenience_copy_of", "seq", "leaf"}
        assert short["unmapped"].items() <= whole["unmapped"].items()


def test_numbers_of_messages_begin_again_where_the_specification_ends() -> None:
    record = records()[0]
    for number, stated in (
        (MAX_SEQUENCE_ID, MAX_SEQUENCE_ID),
        (MAX_SEQUENCE_ID + 1, 1),
    ):
        line = syslog_line(record, tool=TOOL, number=number)
        assert f'sequenceId="{stated}"'.encode() in line
