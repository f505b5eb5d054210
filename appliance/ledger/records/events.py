"""Drafts of records, and the bytes a draft becomes in the ledger.

A record is one RFC 8785 object; its exact bytes are stored, hashed and exported,
and nobody re-serialises them. ``v``, ``seq``, ``ts``, ``log``, ``event`` and
``outcome`` are in every record, ``team`` and ``request_id`` where the catalogue
says so, then the event's own fields.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import rfc8785

from appliance.ledger.records.catalogue import CATALOGUE, Event, Outcome, Presence
from appliance.ledger.records.fields import JSON, TOKEN

__all__ = [
    "RECORD_FORMAT",
    "Draft",
    "Event",
    "Outcome",
    "decimal_text",
    "encode_record",
    "timestamp",
    "token_or_digest",
]

RECORD_FORMAT = 1
"""The ``v`` of every record written by this release."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A record before it has a place in the ledger; checked when it is made.

    Attributes:
        event: What it is about.
        outcome: One of the outcomes that the catalogue allows for ``event``.
        team: The tenant concerned, or None.
        request_id: The API request concerned, or None.
        fields: What the catalogue lists for ``event``; None means left out.

    Raises:
        ValueError: The catalogue does not allow this draft; a bug of the caller.
    """

    event: Event
    outcome: str
    team: str | None = None
    request_id: str | None = None
    fields: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        terms = CATALOGUE[Event(self.event)]
        if self.outcome not in terms.outcomes:
            raise ValueError(f"{self.event}: this outcome is not in the catalogue")
        _check_presence(self.team, f"{self.event}.team", rule=terms.team)
        _check_presence(
            self.request_id, f"{self.event}.request_id", rule=terms.request_id
        )
        # A checked copy: what the caller does to its own mapping later is void.
        checked = terms.fields(self.fields, str(self.event))
        object.__setattr__(self, "fields", checked)


def encode_record(draft: Draft, *, seq: int, now: dt.datetime, origin: str) -> bytes:
    """Return the canonical bytes of ``draft`` as record ``seq`` of log ``origin``."""
    record: dict[str, JSON] = {
        "v": RECORD_FORMAT,
        "seq": str(seq),
        "ts": timestamp(now),
        "log": origin,
        "event": str(draft.event),
        "outcome": str(draft.outcome),
    }
    if draft.team is not None:
        record["team"] = draft.team
    if draft.request_id is not None:
        record["request_id"] = draft.request_id
    return rfc8785.dumps({**record, **draft.fields})


def timestamp(now: dt.datetime) -> str:
    """Return ``now`` as RFC 3339 UTC text with microseconds.

    Raises:
        ValueError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("a time without a zone cannot be recorded")
    in_utc = now.astimezone(dt.UTC).replace(tzinfo=None)
    return in_utc.isoformat(timespec="microseconds") + "Z"


def decimal_text(number: float) -> str:
    """Return a sampling parameter as a record holds it, to six decimals."""
    text = f"{number:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def token_or_digest(text: str) -> str:
    """Return short harmless text as it is, and any other as ``sha256:`` and hex.

    For a label or a name that a caller sent: a record must be able to carry it
    without becoming a place to smuggle prose into.
    """
    try:
        TOKEN(text[:65], "text")
    except ValueError:
        harmless = False
    else:
        harmless = len(text) <= 64
    if harmless:
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"


def _check_presence(value: str | None, where: str, *, rule: Presence) -> None:
    if value is None:
        if rule is Presence.REQUIRED:
            raise ValueError(f"{where}: is missing")
        return
    if rule is Presence.ABSENT:
        raise ValueError(f"{where}: not in the catalogue")
    TOKEN(value, where)
