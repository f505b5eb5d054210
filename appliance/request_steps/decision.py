"""Asks the policy set about one inference request."""

import datetime as dt
import logging

from appliance.identity.keys import Caller
from appliance.policy.decide import Decision, decide
from appliance.policy.facts import Labels, ModelFacts, RequestFacts
from appliance.request_steps.parts import HostView

_log = logging.getLogger(__name__)


def decide_request(
    view: HostView,
    caller: Caller,
    *,
    model: ModelFacts,
    labels: Labels,
    now: dt.datetime,
) -> Decision:
    """Return what the policy set decides; a policy that errs is told to the log."""
    facts = RequestFacts(
        key_id=caller.key_id,
        key_expires=caller.key_expires,
        team=caller.team,
        clearance=caller.clearance,
        labels=labels,
        model=model,
        site=view.site,
        now=now,
    )
    decision = decide(view.policy_set, facts)
    for problem in decision.errors:
        _log.error("a policy could not be evaluated: %s", problem)
    return decision
