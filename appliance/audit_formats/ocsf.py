"""A record as an OCSF 1.8.0 event, for the SIEM that watches this host.

Calls of the API are *API Activity* with the profiles ``ai_operation`` and, where
something was decided, ``security_control``. What OCSF has no attribute for stays,
word for word, in ``unmapped`` beside the record's number and leaf hash, by which it
is found again in the ledger. Nothing is in an event that is not in its record.
Source: OCSF 1.8.0.
"""

import datetime as dt
import json
from typing import Any, Final

from appliance.audit_formats.ocsf_classes import (
    ACCOUNT_CHANGE,
    API_ACTIVITY,
    BASE_EVENT,
    ENTITY_MANAGEMENT,
    LIFECYCLE,
    LOG_ACTIVITY,
    Mapped,
    mapped,
)
from appliance.audit_formats.record import EVIDENCE, AuditRecord

VERSION: Final = "1.8.0"
"""The release of OCSF that events are of."""

PRODUCT: Final = "Sallyport"

NOT_RECORDED: Final = "not-recorded"
"""What stands where OCSF asks for something that the ledger does not keep."""

COMMON: Final = frozenset(
    {"v", "seq", "ts", "log", "event", "outcome", "team", "request_id"}
)
"""The fields of every record; each has its own attribute in an event."""

STATUS: Final = {
    "ok": (1, "Success"),
    "allowed": (1, "Success"),
    "refused": (2, "Failure"),
    "error": (2, "Failure"),
    "aborted": (2, "Failure"),
}
SEVERITY: Final = {
    "refused": (2, "Low"),
    "error": (3, "Medium"),
    "aborted": (3, "Medium"),
}
GRAVE: Final = {"bundle.refused": (4, "High"), "engine.crashed": (4, "High")}
"""Events that somebody should look at, whatever their outcome is called."""


def ocsf_event(
    record: AuditRecord, *, tool: str, brief: bool = False
) -> dict[str, Any]:
    """Return the event that says what ``record`` says.

    Args:
        record: The record.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        brief: Whether ``unmapped`` leads to the record and leaves its fields out,
            and the event says so.
    """
    name, outcome = record.text("event"), record.text("outcome")
    kind = mapped(name)
    status_id, status = STATUS.get(outcome, (99, outcome.capitalize() or "Unknown"))
    severity_id, severity = GRAVE.get(name) or SEVERITY.get(
        outcome, (1, "Informational")
    )
    about = _about(record, kind)
    event: dict[str, Any] = {
        "activity_id": kind.activity_id,
        "activity_name": kind.activity_name,
        "category_uid": kind.of.category_uid,
        "category_name": kind.of.category_name,
        "class_uid": kind.of.uid,
        "class_name": kind.of.name,
        "type_uid": kind.of.uid * 100 + kind.activity_id,
        "type_name": f"{kind.of.name}: {kind.activity_name}",
        "time": _milliseconds(record.text("ts")),
        "timezone_offset": 0,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": record.text("error_code") or record.text("code"),
        "message": f"{name} {outcome}",
        "metadata": _metadata(record, tool=tool, profiles=_profiles(record, kind)),
        **about,
        "unmapped": {
            "convenience_copy_of": EVIDENCE,
            "seq": str(record.seq),
            "leaf": record.leaf,
            **({} if brief else _own_fields(record)),
        },
    }
    if brief:
        event["metadata"] |= {
            "is_truncated": True,
            "untruncated_size": record.size_bytes,
        }
    return _filled(event)


def _own_fields(record: AuditRecord) -> dict[str, Any]:
    return {n: v for n, v in record.fields.items() if n not in COMMON}


def ocsf_line(record: AuditRecord, *, tool: str, brief: bool = False) -> bytes:
    """Return the event as one line of ASCII JSON, without its line end."""
    event = ocsf_event(record, tool=tool, brief=brief)
    return json.dumps(event, separators=(",", ":")).encode()


def _filled(event: dict[str, Any]) -> dict[str, Any]:
    """Return ``event`` without what its record says nothing of."""
    kept: dict[str, Any] = {}
    for name, value in event.items():
        inner = value
        if isinstance(value, dict) and name != "unmapped":
            inner = _filled(value)
        elif isinstance(value, list):
            inner = [
                _filled(each) if isinstance(each, dict) else each for each in value
            ]
        if inner not in ("", None, {}, []):
            kept[name] = inner
    return kept


def _milliseconds(ts: str) -> int:
    moment = dt.datetime.fromisoformat(ts)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(
        milliseconds=1
    )


def _profiles(record: AuditRecord, kind: Mapped) -> list[str]:
    if kind.of is not API_ACTIVITY:
        return []
    decided = record.at("policy") is not None or record.text("outcome") == "refused"
    return ["ai_operation", *(["security_control"] if decided else [])]


def _metadata(record: AuditRecord, *, tool: str, profiles: list[str]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "product": {**_product(), "version": tool.partition("/")[2]},
        "profiles": profiles,
        "uid": record.leaf,
        "sequence": record.seq,
        "log_name": record.text("log"),
        "log_version": record.text("v"),
        "event_code": record.text("event"),
        "original_time": record.text("ts"),
        "correlation_uid": record.text("request_id"),
        "tenant_uid": record.text("team"),
    }


def _product() -> dict[str, str]:
    return {"name": PRODUCT, "vendor_name": PRODUCT}


def _about(record: AuditRecord, kind: Mapped) -> dict[str, Any]:
    """Return what the record's class of events has attributes for."""
    if kind.of is API_ACTIVITY:
        return _inference(record)
    if kind.of is ACCOUNT_CHANGE:
        return {"actor": {"app_name": PRODUCT}, "user": _user(record)}
    if kind.of is ENTITY_MANAGEMENT:
        return {"actor": {"app_name": PRODUCT}, "entity": _entity(record, kind)}
    if kind.of is LIFECYCLE:
        return {"app": _product()}
    if kind.of is LOG_ACTIVITY:
        return {
            "actor": {"app_name": PRODUCT},
            "log_name": record.text("log"),
            "log_type_id": 2,
            "log_type": "Application",
        }
    return {} if kind.of is BASE_EVENT else {"count": 1}


def _user(record: AuditRecord) -> dict[str, Any]:
    key = record.text("key_id") or record.text("actor", "key_id")
    team = record.text("team")
    return {
        "uid": key,
        "credential_uid": key,
        "type_id": 4,
        "type": "Service",
        "account": {"name": team, "type_id": 99, "type": "Team"} if team else {},
    }


def _entity(record: AuditRecord, kind: Mapped) -> dict[str, Any]:
    """Return the thing that changed, by the first name the record has for it."""
    names = (
        record.text("model", "name"),
        record.text("channel"),
        record.text("site"),
        record.text("team"),
    )
    return {
        "type_id": 99,
        "type": kind.entity,
        "name": next((name for name in names if name), kind.entity),
        "uid": record.text("model", "sha256")
        or record.text("manifest_sha256")
        or record.text("root_sha256")
        or record.text("envelope_sha256"),
        "version": record.text("version") or record.text("root_version"),
    }


def _inference(record: AuditRecord) -> dict[str, Any]:
    known = record.text("team") or record.text("actor", "key_id")
    return {
        "actor": {"user": _user(record)}
        if known
        else {"app_name": "unauthenticated client"},
        # The ledger keeps no network addresses; OCSF requires an endpoint.
        "src_endpoint": {"name": NOT_RECORDED},
        "api": {
            "operation": record.text("endpoint") or "inference",
            "service": {"name": PRODUCT},
            "request": {"uid": record.text("request_id")}
            if record.text("request_id")
            else {},
            "response": {
                "code": record.at("status"),
                "error": record.text("error_code") or record.text("code"),
            },
        },
        "duration": record.at("total_ms"),
        **_model(record),
        **_tokens(record),
        **_decision(record),
    }


def _model(record: AuditRecord) -> dict[str, Any]:
    name = record.text("model", "name")
    if not name:
        return {}
    digest = record.text("model", "sha256")
    return {
        "ai_model": {
            "ai_provider": PRODUCT,
            "name": name,
            "uid": digest,
            "version": record.text("model", "generation"),
        },
        "resources": [{"type": "AI model", "name": name, "uid": digest}],
    }


def _tokens(record: AuditRecord) -> dict[str, Any]:
    prompt, completion = record.at("prompt_tokens"), record.at("completion_tokens")
    if prompt is None:
        return {}
    return {
        "message_context": {
            "service": {"name": PRODUCT},
            "uid": record.text("request_id"),
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": None if completion is None else prompt + completion,
        }
    }


def _decision(record: AuditRecord) -> dict[str, Any]:
    policy = record.at("policy")
    if record.text("outcome") == "refused":
        verdict = {
            "action_id": 2,
            "action": "Denied",
            "disposition_id": 2,
            "disposition": "Blocked",
        }
    elif policy is not None:
        verdict = {
            "action_id": 1,
            "action": "Allowed",
            "disposition_id": 1,
            "disposition": "Allowed",
        }
    else:
        return {}
    if not isinstance(policy, dict) or not policy.get("ids"):
        return verdict
    named = {
        "uid": ",".join(policy["ids"]),
        "version": policy.get("set_sha256"),
        "is_applied": True,
    }
    return {
        **verdict,
        "policy": named,
        "authorizations": [{"decision": policy.get("decision"), "policy": named}],
    }
