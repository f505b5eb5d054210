"""Records of every event, as the ledger would have encoded them."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import rfc8785

from appliance.audit_formats.record import AuditRecord, read_record
from appliance.ledger.records.catalogue import CATALOGUE, Presence
from appliance.ledger.records.events import Draft, Event, Outcome, encode_record
from tests.support.ledgers import NOW, SHA, refusal, request, response

ORIGIN = "test.example/0123"

DENIED = Draft(
    event=Event.LLM_REFUSED,
    outcome=Outcome.REFUSED,
    team="claims",
    request_id="r3",
    fields={
        "code": "policy-denied",
        "status": 403,
        "left_out": 2,
        "actor": {"key_id": "W1sF0wRy"},
        "model": {"name_sha256": SHA},
        "labels": {"class": "pii"},
        "policy": {"decision": "deny", "ids": ("core-region", "site-2")},
    },
)
ABORTED = Draft(
    event=Event.LLM_ABORTED,
    outcome=Outcome.ABORTED,
    team="claims",
    request_id="r2",
    fields={"parent": "3", "reason": "crash"},
)
IMPORTED = Draft(
    event=Event.BUNDLE_IMPORTED,
    outcome=Outcome.OK,
    fields={
        "channel": "main",
        "version": 7,
        "manifest_sha256": SHA,
        "artifacts": [
            {"kind": "gguf", "name": "demo", "sha256": SHA, "size_bytes": 12}
        ],
        "signed_by": ["k1", "k2"],
    },
)
ACCEPTED = Draft(
    event=Event.BUNDLE_EXPIRY_ACCEPTED,
    outcome=Outcome.OK,
    fields={
        "channel": "main",
        "version": 7,
        "manifest_sha256": SHA,
        "expired": "2026-11-01T00:00:00Z",
        "operator_uid": 1000,
        "reason": '=HYPERLINK("http://x"; "é")',
    },
)
KEY = Draft(
    event=Event.APIKEY_CREATED,
    outcome=Outcome.OK,
    team="claims",
    fields={"key_id": "W1sF0wRy", "not_after": "2027-01-01T00:00:00Z"},
)
DRAFTS = (
    request("r1"),
    response("r1", parent=0),
    request("r2", team="-dash"),
    refusal("unknown-key"),
    DENIED,
    ABORTED,
    IMPORTED,
    ACCEPTED,
    KEY,
)
"""What a small ledger may hold, nothing of it harmless to a spreadsheet."""


def encoded(drafts: Iterable[Draft] = DRAFTS, *, day: dt.timedelta) -> Iterator[bytes]:
    """Yield ``drafts`` as records, each some time after the one before."""
    for seq, draft in enumerate(drafts):
        now = NOW + seq * day
        yield encode_record(draft, seq=seq, now=now, origin=ORIGIN)


def records(drafts: Iterable[Draft] = DRAFTS) -> list[AuditRecord]:
    """Return ``drafts`` as the formats take them."""
    return [read_record(data) for data in encoded(drafts, day=dt.timedelta(days=1))]


def bare_records() -> list[AuditRecord]:
    """Return a record of every event and outcome, with nothing in it of its own."""
    made: list[AuditRecord] = []
    for event, terms in CATALOGUE.items():
        for outcome in terms.outcomes:
            named = {
                "team": "claims" if terms.team is not Presence.ABSENT else None,
                "request_id": "r1" if terms.request_id is not Presence.ABSENT else None,
            }
            fields: dict[str, str | int] = {
                "v": 1,
                "seq": str(len(made)),
                "ts": "2026-11-22T08:04:29.123456Z",
                "log": ORIGIN,
                "event": str(event),
                "outcome": str(outcome),
                **{name: value for name, value in named.items() if value},
            }
            made.append(read_record(rfc8785.dumps(fields)))
    return made


def write_records(folder: Path, count: int) -> Path:
    """Write ``count`` records of calls, a few each day, and return the folder."""
    with (folder / "records.jsonl").open("wb") as file:
        for seq in range(count):
            draft = (
                request(f"r{seq}", team=f"team-{seq % 11}")
                if seq % 2 == 0
                else response(f"r{seq - 1}", parent=seq - 1)
            )
            now = NOW + dt.timedelta(hours=seq)
            data = encode_record(draft, seq=seq, now=now, origin=ORIGIN)
            if seq % 7 == 0:
                fields = json.loads(data) | {"total_ms": seq, "outcome": "ok"}
                data = rfc8785.dumps(fields)
            file.write(data + b"\n")
    return folder
