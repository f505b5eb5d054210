"""The event catalogue: which records exist, and what each of them may carry.

A field that is not listed here cannot be written; a violation is a bug of the
caller and raises ``ValueError`` before anything is. Adding an optional field is
compatible; removing or renaming one is not, since exports live for years.
Source: NIST SP 800-53 AU-2, AU-3 and AU-3(3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance.ledger.records.fields import (
    COUNT,
    DECIMAL,
    FLAG,
    INTEGER,
    RANGE,
    REASON,
    SEQ,
    SHA256,
    TIME,
    TOKEN,
    Kind,
    list_of,
    object_of,
)


class Event(StrEnum):
    """What a record is about, as ``subject.action``."""

    LOG_CREATED = "log.created"
    LOG_EXPORTED = "log.exported"
    LOG_READ = "log.read"
    LOG_LOW = "log.low"
    LOG_RECOVERED = "log.recovered"
    LOG_HALTED = "log.halted"
    LOG_RELEASED = "log.released"
    LOG_RESUMED = "log.resumed"
    LOG_COSIGNED = "log.cosigned"
    LOG_PRUNED = "log.pruned"
    HOLD_PLACED = "hold.placed"
    HOLD_LIFTED = "hold.lifted"
    KEY_ROTATE = "key.rotate"
    CLOCK_STEP = "clock.step"
    APIKEY_CREATED = "apikey.created"
    APIKEY_REVOKED = "apikey.revoked"
    TEAM_CREATED = "team.created"
    TEAM_CHANGED = "team.changed"
    TRUST_INITIALISED = "trust.initialised"
    TRUST_UPDATED = "trust.updated"
    SITE_CERT_INSTALLED = "site.cert_installed"
    BUNDLE_VERIFIED = "bundle.verified"
    BUNDLE_COPIED = "bundle.copied"
    BUNDLE_EXAMINED = "bundle.examined"
    BUNDLE_POLICIES_CHECKED = "bundle.policies_checked"
    BUNDLE_ENVIRONMENTS_INSTALLED = "bundle.environments_installed"
    BUNDLE_LOADED = "bundle.loaded"
    BUNDLE_ADMITTED = "bundle.admitted"
    BUNDLE_EXPIRY_ACCEPTED = "bundle.expiry_accepted"
    BUNDLE_IMPORTED = "bundle.imported"
    BUNDLE_REPAIRED = "bundle.repaired"
    BUNDLE_REFUSED = "bundle.refused"
    GENERATION_ACTIVATED = "generation.activated"
    MODEL_REMOVED = "model.removed"
    MODEL_RESTORED = "model.restored"
    MODEL_CHANGED = "model.changed"
    MODEL_TAKEN_OUT = "model.taken_out"
    MODEL_PUT_BACK = "model.put_back"
    STORE_COLLECTED = "store.collected"
    STORE_REPAIRED = "store.repaired"
    RECEIPTS_EXPORTED = "receipts.exported"
    SIEM_GAP = "siem.gap"
    SERVER_STARTED = "server.started"
    SERVER_STOPPED = "server.stopped"
    ENGINE_CRASHED = "engine.crashed"
    APPROVAL_ASKED = "approval.asked"
    BODY_READ = "body.read"
    BODY_ERASED = "body.erased"
    BODY_REFUSED = "body.refused"
    LLM_REQUEST = "llm.request"
    LLM_RESPONSE = "llm.response"
    LLM_REFUSED = "llm.refused"
    LLM_ABORTED = "llm.aborted"


class Outcome(StrEnum):
    """How it ended; every record has exactly one."""

    OK = "ok"
    ALLOWED = "allowed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    ERROR = "error"
    ABORTED = "aborted"


class Presence(StrEnum):
    """Whether a record names a team or a request."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    ABSENT = "absent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What records of one event look like."""

    fields: Kind
    outcomes: tuple[Outcome, ...] = (Outcome.OK,)
    team: Presence = Presence.ABSENT
    request_id: Presence = Presence.ABSENT


_ACTOR = object_of(required={"key_id": TOKEN})

_MODEL = object_of(
    required={"name": TOKEN, "sha256": SHA256}, optional={"generation": COUNT}
)

_ASKED_MODEL = object_of(optional={"name": TOKEN, "name_sha256": SHA256})
"""``name`` only if this host knows that model; anything else by its digest."""

_LABELS = object_of(
    optional={
        "class": TOKEN,
        "class_source": TOKEN,
        "region": TOKEN,
        "requested_region": TOKEN,
    }
)
"""``class_source`` is whose the class is: ``team``, its default, or ``header``."""

_POLICY = object_of(
    required={"decision": TOKEN, "ids": list_of(TOKEN)},
    optional={"set_sha256": SHA256},
)

_PARAMS = object_of(
    optional={
        "stream": FLAG,
        "max_tokens": COUNT,
        "temperature": DECIMAL,
        "top_p": DECIMAL,
        "frequency_penalty": DECIMAL,
        "presence_penalty": DECIMAL,
        "seed": INTEGER,
        "stop_strings": COUNT,
        "messages": COUNT,
        "inputs": COUNT,
        "dimensions": COUNT,
        "priority": INTEGER,
        "timeout_s": DECIMAL,
    }
)

_BODY = object_of(
    required={"capture": TOKEN},
    optional={
        "lowered_from": TOKEN,
        "model_allows": TOKEN,
        "commitment": SHA256,
        "size_bytes": COUNT,
    },
)
"""What binds a prompt or an answer to its record; neither is in it."""

_APPROVAL = object_of(
    required={
        "ask": TOKEN,
        "approval_sha256": SHA256,
        "key_ids": list_of(TOKEN),
        "approved": TIME,
    }
)
"""By whose leave: the ask that was approved, and the statement that approves it."""

_TEAM_TERMS = object_of(
    optional={
        "running": COUNT,
        "queued": COUNT,
        "requests_per_minute": COUNT,
        "tokens_per_minute": COUNT,
        "tokens_per_day": COUNT,
        "weight": COUNT,
        "priority": TOKEN,
    }
)
"""What a team has instead of the host's defaults."""

_SELECTION = object_of(
    optional={
        "first": SEQ,
        "last": SEQ,
        "event": TOKEN,
        "team": TOKEN,
        "model": TOKEN,
        "request_id": TOKEN,
    }
)
"""Which records an export was asked for, or a hold keeps."""

_ACCOUNT = {"operator_uid": COUNT, "login_uid": COUNT}
"""Who did it, as the operating system knows them."""

_TEAM = {"clearance": TOKEN, "default_class": TOKEN, "capture": TOKEN}
"""What a team may send, and how much of it is captured."""

_OLD_TEAM = object_of(optional={**_TEAM, "terms": _TEAM_TERMS})
"""What was changed, as it was; what was the host's default then is not in it."""

_ARTIFACT = object_of(
    required={"kind": TOKEN, "name": TOKEN, "sha256": SHA256, "size_bytes": COUNT}
)

_ROOM = object_of(required={"free_bytes": COUNT, "limit_bytes": COUNT})
"""How much room the disk of the ledger has, and below which it is low."""

TWO_HEADS = {
    "kept_size": SEQ,
    "kept_root": SHA256,
    "found_size": SEQ,
    "found_root": SHA256,
}
"""The head that was known, and the one the database has."""

_BUNDLE = {"channel": TOKEN, "version": COUNT, "manifest_sha256": SHA256}
"""What every record of a verified bundle calls it."""

_SIGNED = {
    "root_version": COUNT,
    "signed_by": list_of(TOKEN),
    "thresholds": object_of(
        optional={
            "root": COUNT,
            "targets": COUNT,
            "snapshot": COUNT,
            "timestamp": COUNT,
        }
    ),
    "profile": TOKEN,
    "digest": TOKEN,
}
"""Who signed a bundle, and by which rules."""

PRUNABLE = (
    Event.LLM_REQUEST,
    Event.LLM_RESPONSE,
    Event.LLM_REFUSED,
    Event.LLM_ABORTED,
)
"""The events whose records may be let go when their time is over; every other record
stays, since later ones are understood by it. The migrations' triggers say the same."""

CATALOGUE: Mapping[Event, Terms] = {
    Event.LOG_CREATED: Terms(fields=object_of(required={"vkey": TOKEN, "tool": TOKEN})),
    Event.LOG_EXPORTED: Terms(
        fields=object_of(
            required={"size": SEQ, "tool": TOKEN},
            optional={
                "selection": _SELECTION,
                "redaction": TOKEN,
                "formats": list_of(TOKEN),
                "carrier": TOKEN,
                "recipient": TOKEN,
                "reason": REASON,
                "approval": _APPROVAL,
                **_ACCOUNT,
            },
        )
    ),
    Event.LOG_READ: Terms(
        fields=object_of(
            required={
                "command": TOKEN,
                "filter_sha256": SHA256,
                "records": COUNT,
                "size": SEQ,
                "operator_uid": COUNT,
                "tool": TOKEN,
            },
            optional={"reason": REASON, "login_uid": COUNT},
        )
    ),
    Event.LOG_LOW: Terms(fields=_ROOM),
    Event.LOG_RECOVERED: Terms(fields=_ROOM),
    Event.LOG_HALTED: Terms(
        fields=object_of(
            required={"halt": COUNT, "cause": TOKEN, "halted": TIME},
            optional={
                "error": TOKEN,
                "behind_ms": COUNT,
                "changed": list_of(TOKEN),
                **TWO_HEADS,
            },
        ),
        outcomes=(Outcome.ERROR,),
    ),
    Event.LOG_RELEASED: Terms(
        fields=object_of(
            required={
                "halt": COUNT,
                "cause": TOKEN,
                "reason": REASON,
                "key_ids": list_of(TOKEN),
                "issued": TIME,
                "release_sha256": SHA256,
            },
            optional={**TWO_HEADS, **_ACCOUNT},
        )
    ),
    Event.CLOCK_STEP: Terms(
        fields=object_of(required={"from": TIME, "to": TIME, "ahead_ms": COUNT})
    ),
    Event.LOG_RESUMED: Terms(
        fields=object_of(required={"cause": TOKEN, "refused": COUNT})
    ),
    Event.LOG_COSIGNED: Terms(
        fields=object_of(
            required={"size": SEQ, "witness": TOKEN, "cosigned": TIME},
            optional=_ACCOUNT,
        )
    ),
    Event.LOG_PRUNED: Terms(
        fields=object_of(
            required={
                "kind": TOKEN,
                "ranges": list_of(RANGE),
                "records": COUNT,
                "presets": list_of(TOKEN),
                "days": COUNT,
                "before": TIME,
                "certificate_sha256": SHA256,
                "operator_uid": COUNT,
                "tool": TOKEN,
            },
            optional={"login_uid": COUNT},
        )
    ),
    Event.HOLD_PLACED: Terms(
        fields=object_of(
            required={
                "hold": COUNT,
                "reason": REASON,
                "selection": _SELECTION,
                "operator_uid": COUNT,
                "tool": TOKEN,
            },
            optional={"login_uid": COUNT},
        )
    ),
    Event.HOLD_LIFTED: Terms(
        fields=object_of(
            required={
                "hold": COUNT,
                "reason": REASON,
                "approval": _APPROVAL,
                "operator_uid": COUNT,
            },
            optional={"login_uid": COUNT},
        )
    ),
    Event.KEY_ROTATE: Terms(
        fields=object_of(required={"epoch": COUNT, "vkey": TOKEN, "reason": TOKEN})
    ),
    Event.APIKEY_CREATED: Terms(
        fields=object_of(
            required={"key_id": TOKEN}, optional={"not_after": TIME, **_ACCOUNT}
        ),
        team=Presence.REQUIRED,
    ),
    Event.APIKEY_REVOKED: Terms(
        fields=object_of(required={"key_id": TOKEN}, optional=_ACCOUNT),
        team=Presence.REQUIRED,
    ),
    Event.TEAM_CREATED: Terms(
        fields=object_of(optional={**_TEAM, **_ACCOUNT}), team=Presence.REQUIRED
    ),
    Event.TEAM_CHANGED: Terms(
        fields=object_of(
            optional={**_TEAM, "terms": _TEAM_TERMS, "was": _OLD_TEAM, **_ACCOUNT}
        ),
        team=Presence.REQUIRED,
    ),
    Event.TRUST_INITIALISED: Terms(
        fields=object_of(
            required={"channel": TOKEN, "root_sha256": SHA256},
            optional={"root_version": COUNT, **_ACCOUNT},
        )
    ),
    Event.TRUST_UPDATED: Terms(
        fields=object_of(
            required={"channel": TOKEN, "root_version": COUNT},
            optional={"operator_uid": COUNT},
        )
    ),
    Event.SITE_CERT_INSTALLED: Terms(
        fields=object_of(
            required={"site": TOKEN, "region": TOKEN, "jurisdictions": list_of(TOKEN)},
            optional={
                "not_before": TIME,
                "not_after": TIME,
                "envelope_sha256": SHA256,
                "retention": object_of(
                    required={
                        "presets": list_of(TOKEN),
                        "records_days": COUNT,
                        "bodies_days": COUNT,
                    }
                ),
                **_ACCOUNT,
            },
        )
    ),
    Event.BUNDLE_VERIFIED: Terms(
        fields=object_of(
            required=_BUNDLE,
            optional={**_SIGNED, "media": COUNT, "copy_bytes": COUNT},
        )
    ),
    Event.BUNDLE_COPIED: Terms(
        fields=object_of(
            required=_BUNDLE,
            optional={"files": COUNT, "copied_bytes": COUNT, "reused_bytes": COUNT},
        )
    ),
    Event.BUNDLE_EXAMINED: Terms(
        fields=object_of(
            required=_BUNDLE,
            optional={"models": COUNT, "wheels": COUNT, "provenance": COUNT},
        )
    ),
    Event.BUNDLE_POLICIES_CHECKED: Terms(
        fields=object_of(required=_BUNDLE, optional={"policies": COUNT})
    ),
    Event.BUNDLE_ENVIRONMENTS_INSTALLED: Terms(
        fields=object_of(required=_BUNDLE, optional={"environments": list_of(TOKEN)})
    ),
    Event.BUNDLE_LOADED: Terms(
        fields=object_of(required=_BUNDLE, optional={"loaded": list_of(TOKEN)})
    ),
    Event.BUNDLE_ADMITTED: Terms(
        fields=object_of(required=_BUNDLE, optional={"files": COUNT})
    ),
    Event.BUNDLE_EXPIRY_ACCEPTED: Terms(
        fields=object_of(
            required={**_BUNDLE, "expired": TIME},
            optional={"operator_uid": COUNT, "reason": REASON, "grace_days": COUNT},
        )
    ),
    Event.BUNDLE_IMPORTED: Terms(
        fields=object_of(
            required=_BUNDLE,
            optional={
                **_SIGNED,
                "generation": COUNT,
                "artifacts": list_of(_ARTIFACT),
                "size_bytes": COUNT,
                "checks": list_of(TOKEN),
                "operator_uid": COUNT,
                "media": COUNT,
                "copied_bytes": COUNT,
                "reused_bytes": COUNT,
                "environments": list_of(TOKEN),
                "not_allowed_here": list_of(TOKEN),
            },
        )
    ),
    Event.BUNDLE_REPAIRED: Terms(
        fields=object_of(
            required=_BUNDLE,
            optional={
                "generation": COUNT,
                "artifacts": list_of(_ARTIFACT),
                "operator_uid": COUNT,
            },
        )
    ),
    Event.BUNDLE_REFUSED: Terms(
        fields=object_of(
            required={"code": TOKEN},
            optional={
                "step": TOKEN,
                "channel": TOKEN,
                "version": COUNT,
                "manifest_sha256": SHA256,
                "operator_uid": COUNT,
            },
        ),
        outcomes=(Outcome.REFUSED, Outcome.ERROR),
    ),
    Event.GENERATION_ACTIVATED: Terms(
        fields=object_of(
            required={
                "channel": TOKEN,
                "version": COUNT,
                "manifest_sha256": SHA256,
                "generation": COUNT,
                "reason": TOKEN,
            },
            optional={
                "previous_generation": COUNT,
                "previous_version": COUNT,
                **_ACCOUNT,
            },
        )
    ),
    Event.MODEL_REMOVED: Terms(
        fields=object_of(
            required={"model": _MODEL, "channel": TOKEN, "version": COUNT},
            optional=_ACCOUNT,
        )
    ),
    Event.MODEL_RESTORED: Terms(
        fields=object_of(
            required={"model": _MODEL, "channel": TOKEN, "version": COUNT},
            optional=_ACCOUNT,
        )
    ),
    Event.MODEL_CHANGED: Terms(
        fields=object_of(
            required={"model": _MODEL, "capture": TOKEN},
            optional={"was": object_of(required={"capture": TOKEN}), **_ACCOUNT},
        )
    ),
    Event.MODEL_TAKEN_OUT: Terms(
        fields=object_of(
            required={"model": _MODEL, "crashes": COUNT, "window_s": COUNT},
            optional={"exit_status": INTEGER},
        ),
        outcomes=(Outcome.ERROR,),
    ),
    Event.MODEL_PUT_BACK: Terms(
        fields=object_of(required={"model": _MODEL, "reason": TOKEN}, optional=_ACCOUNT)
    ),
    Event.STORE_COLLECTED: Terms(
        fields=object_of(
            required={"files": COUNT, "size_bytes": COUNT, "keep": COUNT},
            optional={
                "environments": COUNT,
                "generations": list_of(COUNT),
                **_ACCOUNT,
            },
        )
    ),
    Event.STORE_REPAIRED: Terms(
        fields=object_of(
            required={"files": COUNT, "size_bytes": COUNT, "operator_uid": COUNT},
            optional={
                "artifacts": list_of(_ARTIFACT),
                "generations": list_of(COUNT),
                "media": COUNT,
                "copied_bytes": COUNT,
                "reused_bytes": COUNT,
                "lacking": COUNT,
            },
        )
    ),
    Event.RECEIPTS_EXPORTED: Terms(
        fields=object_of(
            required={"size": SEQ, "receipts": COUNT, "tool": TOKEN},
            optional={"channel": TOKEN, "version": COUNT, **_ACCOUNT},
        )
    ),
    Event.SIEM_GAP: Terms(
        fields=object_of(required={"first": SEQ, "last": SEQ, "records": COUNT}),
        outcomes=(Outcome.ERROR,),
    ),
    Event.SERVER_STARTED: Terms(
        fields=object_of(
            optional={
                "tool": TOKEN,
                "models": list_of(_MODEL),
                "policy_set_sha256": SHA256,
                "aborted_requests": COUNT,
            }
        )
    ),
    Event.SERVER_STOPPED: Terms(
        fields=object_of(optional={"reason": TOKEN, "uptime_s": COUNT})
    ),
    Event.ENGINE_CRASHED: Terms(
        fields=object_of(
            optional={"model": _MODEL, "exit_status": INTEGER, "restarts": COUNT}
        ),
        outcomes=(Outcome.ERROR,),
    ),
    Event.APPROVAL_ASKED: Terms(
        fields=object_of(
            required={
                "act": TOKEN,
                "ask": TOKEN,
                "ask_sha256": SHA256,
                "reason": REASON,
                "expires": TIME,
                "operator_uid": COUNT,
            },
            optional={"login_uid": COUNT},
        ),
        team=Presence.OPTIONAL,
        request_id=Presence.OPTIONAL,
    ),
    Event.BODY_READ: Terms(
        fields=object_of(
            required={
                "parts": list_of(TOKEN),
                "reason": REASON,
                "approval": _APPROVAL,
                "operator_uid": COUNT,
            },
            optional={"login_uid": COUNT},
        ),
        team=Presence.REQUIRED,
        request_id=Presence.REQUIRED,
    ),
    Event.BODY_ERASED: Terms(
        fields=object_of(
            required={
                "parts": list_of(TOKEN),
                "basis": REASON,
                "approval": _APPROVAL,
                "operator_uid": COUNT,
            },
            optional={"login_uid": COUNT},
        ),
        team=Presence.REQUIRED,
        request_id=Presence.REQUIRED,
    ),
    Event.BODY_REFUSED: Terms(
        fields=object_of(
            required={"act": TOKEN, "code": TOKEN, "operator_uid": COUNT},
            optional={"login_uid": COUNT},
        ),
        outcomes=(Outcome.REFUSED, Outcome.ERROR),
        request_id=Presence.OPTIONAL,
    ),
    Event.LLM_REQUEST: Terms(
        fields=object_of(
            required={
                "actor": _ACTOR,
                "model": _MODEL,
                "labels": _LABELS,
                "policy": _POLICY,
                "params": _PARAMS,
                "prompt_tokens": COUNT,
            },
            optional={"endpoint": TOKEN, "body": _BODY},
        ),
        outcomes=(Outcome.ALLOWED,),
        team=Presence.REQUIRED,
        request_id=Presence.REQUIRED,
    ),
    Event.LLM_RESPONSE: Terms(
        fields=object_of(
            required={
                "parent": SEQ,
                "status": COUNT,
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_ms": COUNT,
            },
            optional={
                "finish_reason": TOKEN,
                "ttft_ms": COUNT,
                "error_code": TOKEN,
                "body": _BODY,
            },
        ),
        outcomes=(Outcome.OK, Outcome.CANCELLED, Outcome.ERROR),
        team=Presence.REQUIRED,
        request_id=Presence.REQUIRED,
    ),
    Event.LLM_REFUSED: Terms(
        fields=object_of(
            required={"code": TOKEN, "status": COUNT},
            optional={
                "left_out": COUNT,
                "actor": _ACTOR,
                "model": _ASKED_MODEL,
                "labels": _LABELS,
                "policy": _POLICY,
            },
        ),
        outcomes=(Outcome.REFUSED, Outcome.ERROR),
        team=Presence.OPTIONAL,
        request_id=Presence.OPTIONAL,
    ),
    Event.LLM_ABORTED: Terms(
        fields=object_of(required={"parent": SEQ, "reason": TOKEN}),
        outcomes=(Outcome.ABORTED,),
        team=Presence.REQUIRED,
        request_id=Presence.REQUIRED,
    ),
}
"""Every event with what its records may carry."""
