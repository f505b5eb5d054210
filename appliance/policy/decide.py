"""The one place where Cedar is asked; answers yes only to a clean Allow.

Cedar skips a ``forbid`` whose evaluation fails and may then allow. So the
schema is always passed, and any diagnostic error, any other decision than
Allow and any exception of the engine is a denial. Every denial names at least
one policy. Source: Cedar Policy Language Reference, "Authorization".
"""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import cedarpy

from appliance.policy.compile import PolicySet
from appliance.policy.facts import ModelFacts, RequestFacts, SiteFacts

EVALUATION_ERROR = "core-evaluation-error"
"""The id of a denial because the engine could not evaluate the request."""

EVALUATION_ERROR_REASON = "the policies could not be evaluated, so the answer is no"
"""Its reason."""

NO_PERMIT = "core-no-permit"
"""The id of a denial because no policy permits the request."""

NO_PERMIT_REASON = "no policy permits this request"
"""Its reason."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_NOWHERE = SiteFacts(
    site="(none)",
    region="(none)",
    jurisdictions=(),
    not_before=_EPOCH,
    not_after=_EPOCH,
)
"""Fills the schema's required attributes where no site certificate is installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A decision and everything needed to explain it.

    Attributes:
        allow: Whether the request may go on.
        policy_ids: The policies that decided, sorted; never empty.
        reasons: The ``@reason`` of each, in the same order.
        errors: What the engine reported; for the host's own log, not the caller.
        policy_set_sha256: Which policy set decided.
    """

    allow: bool
    policy_ids: tuple[str, ...]
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    policy_set_sha256: str


def decide(policy_set: PolicySet, facts: RequestFacts) -> Decision:
    """Return what the policy set says of the request; never raises for its facts."""
    try:
        answer = cedarpy.is_authorized(
            _request(policy_set, facts),
            policy_set.policies,
            json.dumps(_entities(policy_set, facts)),
            policy_set.schema,
        )
    except (ValueError, OverflowError) as error:
        return _denial(policy_set, ids=(), errors=(str(error),))
    ids = tuple(answer.diagnostics.reasons)
    errors = tuple(str(error) for error in answer.diagnostics.errors)
    if answer.decision is cedarpy.Decision.Deny:
        return _denial(policy_set, ids=ids, errors=errors)
    if answer.decision is not cedarpy.Decision.Allow or errors:
        # The permits that matched beside an error are no reason for a denial.
        return _denial(policy_set, ids=(), errors=errors or ("no decision",))
    return Decision(
        allow=True,
        policy_ids=tuple(sorted(ids)),
        reasons=tuple(policy_set.reason(policy_id) for policy_id in sorted(ids)),
        errors=(),
        policy_set_sha256=policy_set.sha256,
    )


def _denial(
    policy_set: PolicySet, *, ids: tuple[str, ...], errors: tuple[str, ...]
) -> Decision:
    why = {policy_id: policy_set.reason(policy_id) for policy_id in ids}
    if errors:
        why[EVALUATION_ERROR] = EVALUATION_ERROR_REASON
    if not why:
        why[NO_PERMIT] = NO_PERMIT_REASON
    return Decision(
        allow=False,
        policy_ids=tuple(sorted(why)),
        reasons=tuple(why[policy_id] for policy_id in sorted(why)),
        errors=errors,
        policy_set_sha256=policy_set.sha256,
    )


def _request(policy_set: PolicySet, facts: RequestFacts) -> dict[str, Any]:
    labels = facts.labels
    levels = (policy_set.classes.label(name).level for name in labels.data_classes)
    return {
        "principal": {"type": "ApiKey", "id": facts.key_id},
        "action": {"type": "Action", "id": facts.action},
        "resource": {"type": "Model", "id": facts.model.name},
        "context": {
            "class_level": max(
                levels, default=policy_set.classes.most_restrictive.level
            ),
            "data_classes": list(labels.data_classes),
            "request_regions": list(labels.regions),
            "site": _site(facts.site or _NOWHERE, certified=facts.site is not None),
            "now": _moment(facts.now),
        },
    }


def _site(site: SiteFacts, *, certified: bool) -> dict[str, Any]:
    return {
        "certified": certified,
        "name": site.site,
        "region": site.region,
        "jurisdictions": list(site.jurisdictions),
        "not_before": _moment(site.not_before),
        "not_after": _moment(site.not_after),
    }


def _entities(policy_set: PolicySet, facts: RequestFacts) -> list[dict[str, Any]]:
    team = {"type": "Team", "id": facts.team}
    clearance = policy_set.classes.clearance_level(facts.clearance)
    key = {"team": {"__entity": team}, "expires": _moment(facts.key_expires)}
    return [
        {"uid": team, "attrs": {"clearance": clearance}, "parents": []},
        {
            "uid": {"type": "ApiKey", "id": facts.key_id},
            "attrs": key,
            "parents": [team],
        },
        {
            "uid": {"type": "Model", "id": facts.model.name},
            "attrs": _model(facts.model),
            "parents": [],
        },
    ]


def _model(model: ModelFacts) -> dict[str, Any]:
    return {
        "sha256": model.sha256,
        "origin": model.origin,
        "licence": model.licence,
        "allowed_regions": list(model.allowed_regions),
    }


def _moment(moment: dt.datetime) -> dict[str, Any]:
    """Return a time as Cedar takes it: UTC, milliseconds, rounded down."""
    if moment.utcoffset() is None:
        raise ValueError("a time without its zone")
    utc = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return {
        "__extn": {
            "fn": "datetime",
            "arg": utc.isoformat(timespec="milliseconds") + "Z",
        }
    }
