"""What the ledger says of one inference request; pure.

``llm.request`` when it is accepted, ``llm.response`` when it ended, however it
ended, ``llm.refused`` when it never began. Numbers, names and digests only.
"""

import hashlib
from dataclasses import dataclass

from appliance.bodies.capture import Captures
from appliance.clock import Clock
from appliance.engine.embedding import Vectors
from appliance.engine.port import Piece, Ticket, Usage
from appliance.ledger.exports.receipt_header import HEADER, receipt_text
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.events import (
    Draft,
    Event,
    Outcome,
    decimal_text,
    token_or_digest,
)
from appliance.ledger.records.fields import JSON
from appliance.policy.decide import Decision
from appliance.policy.facts import Labels, ModelFacts, SiteFacts
from appliance.request_steps.bodies import Captured
from appliance.request_steps.meter import RequestMeter
from appliance.request_steps.model_requests import EmbeddingRequest, ModelRequest
from bundleformat.errors import Error, FaultError

CLIENT_GONE_STATUS = 499
"""The status of an answer nobody waits for. Source: nginx's convention."""

METERED_AS = {
    Outcome.OK: "stop",
    Outcome.CANCELLED: "abort",
    Outcome.ERROR: "error",
}
"""How an ending is counted that has no reason of its own. Source: vLLM."""


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far one call got; filled in step by step, read for its records.

    ``receipt`` is that of its newest record that is durable.
    """

    request_id: str
    started_ns: int
    accepted: bool = False
    site: SiteFacts | None = None
    team: str | None = None
    key_id: str | None = None
    asked_model: str | None = None
    model: ModelFacts | None = None
    generation: int | None = None
    labels: Labels | None = None
    decision: Decision | None = None
    receipt: Receipt | None = None
    captures: Captures | None = None
    captured: Captured | None = None


def request_draft(
    progress: Progress,
    *,
    request: ModelRequest,
    ticket: Ticket,
    priority: int,
    timeout_s: float,
) -> Draft:
    """Return the record of an accepted request."""
    embeds = isinstance(request, EmbeddingRequest)
    captured = progress.captured
    return Draft(
        event=Event.LLM_REQUEST,
        outcome=Outcome.ALLOWED,
        team=progress.team,
        request_id=progress.request_id,
        fields={
            "endpoint": "embeddings" if embeds else "chat.completions",
            "actor": _actor_field(progress),
            "model": _model_field(progress),
            "labels": _labels_field(progress),
            "policy": _policy_field(progress),
            "params": {
                **_params_field(request, ticket),
                "priority": str(priority),
                "timeout_s": decimal_text(timeout_s),
            },
            "prompt_tokens": ticket.prompt_tokens,
            "body": None if captured is None else captured.request_field(),
        },
    )


def refusal_draft(error: Error, progress: Progress, *, left_out: int = 0) -> Draft:
    """Return the record of a request that never began.

    ``left_out`` refusals before it were not recorded one by one.

    A model this host does not know is named by its digest: a record is no place
    for whatever a caller wrote.
    """
    asked: JSON = None
    if progress.model is not None:
        asked = {"name": progress.model.name}
    elif progress.asked_model is not None:
        digest = hashlib.sha256(progress.asked_model.encode("utf-8", "replace"))
        asked = {"name_sha256": digest.hexdigest()}
    return Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.ERROR if isinstance(error, FaultError) else Outcome.REFUSED,
        team=progress.team,
        request_id=progress.request_id,
        fields={
            "code": error.code,
            "status": error.http_status,
            "left_out": left_out or None,
            "actor": _actor_field(progress),
            "model": asked,
            "labels": _labels_field(progress),
            "policy": _policy_field(progress),
        },
    )


def receipt_headers(progress: Progress) -> dict[str, str]:
    """Return the header that makes the caller a witness of the call's record."""
    if progress.receipt is None:
        return {}
    return {HEADER: receipt_text(progress.receipt)}


def _actor_field(progress: Progress) -> JSON:
    return None if progress.key_id is None else {"key_id": progress.key_id}


def _model_field(progress: Progress) -> JSON:
    if progress.model is None:
        return None
    return {
        "name": progress.model.name,
        "sha256": progress.model.sha256,
        "generation": progress.generation,
    }


def _labels_field(progress: Progress) -> JSON:
    if progress.labels is None:
        return None
    asked = ",".join(progress.labels.regions)
    return {
        "class": progress.labels.data_class,
        "class_source": progress.labels.class_source,
        "requested_region": token_or_digest(asked) if asked else None,
        "region": None if progress.site is None else progress.site.region,
    }


def _policy_field(progress: Progress) -> JSON:
    decision = progress.decision
    if decision is None:
        return None
    return {
        "decision": "allow" if decision.allow else "deny",
        "ids": decision.policy_ids,
        "set_sha256": decision.policy_set_sha256,
    }


def _params_field(request: ModelRequest, ticket: Ticket) -> dict[str, JSON]:
    if isinstance(request, EmbeddingRequest):
        return {"inputs": request.inputs.count, "dimensions": request.dimensions}
    sampling = request.sampling
    return {
        "stream": request.stream,
        "messages": len(request.messages),
        "max_tokens": ticket.max_new_tokens,
        "temperature": decimal_text(sampling.temperature),
        "top_p": decimal_text(sampling.top_p),
        "frequency_penalty": decimal_text(sampling.frequency_penalty),
        "presence_penalty": decimal_text(sampling.presence_penalty),
        "seed": None if sampling.seed is None else str(sampling.seed),
        "stop_strings": len(sampling.stop),
    }


class Ending:
    """How one accepted request ends: times, tokens and, once, its record.

    Attributes:
        recorded: Whether its record was handed to the ledger.
        used_tokens: What it used, prompt and answer, as its record says.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        parent: int,
        ticket: Ticket,
        clock: Clock,
        meter: RequestMeter,
    ) -> None:
        self._progress = progress
        self._meter = meter
        self._parent = parent
        self._ticket = ticket
        self._first_ns: int | None = None
        self._clock = clock
        self.recorded = False
        self.used_tokens = 0

    def note(self, part: Piece | Vectors) -> None:
        """Remember when the first text, or the first vector, came."""
        now_ns = self._clock.monotonic_ns()
        if isinstance(part, Piece):
            self._meter.token(now_ns, queued_s=part.queued_s)
            if self._progress.captured is not None:
                self._progress.captured.answered(part.text)
        came = part.text if isinstance(part, Piece) else part.vectors
        if self._first_ns is None and came:
            self._first_ns = now_ns

    def runs(self) -> None:
        """Note that it is its team's turn."""
        self._meter.runs(self._clock.monotonic_ns())

    def finished(self, part: Piece | Vectors) -> Draft:
        """Return the record of a request that came to its end."""
        reason = part.finish_reason if isinstance(part, Piece) else None
        return self._draft(Outcome.OK, 200, part.usage, finish_reason=reason)

    def cancelled(self, usage: Usage) -> Draft:
        """Return the record of a request whose caller went away."""
        return self._draft(Outcome.CANCELLED, CLIENT_GONE_STATUS, usage)

    def failed(self, error: Error, usage: Usage) -> Draft:
        """Return the record of a request that the host could not finish."""
        return self._draft(
            Outcome.ERROR, error.http_status, usage, error_code=error.code
        )

    def _draft(
        self,
        outcome: Outcome,
        status: int,
        usage: Usage | None,
        *,
        finish_reason: str | None = None,
        error_code: str | None = None,
    ) -> Draft:
        ended_ns = self._clock.monotonic_ns()
        completion_tokens = 0 if usage is None else usage.completion_tokens
        self.used_tokens = self._ticket.prompt_tokens + completion_tokens
        self._meter.ended(
            finish_reason or METERED_AS[outcome],
            prompt_tokens=self._ticket.prompt_tokens,
            completion_tokens=completion_tokens,
            now_ns=ended_ns,
        )
        captured = self._progress.captured
        ttft_ms = None if self._first_ns is None else self._ms(self._first_ns)
        return Draft(
            event=Event.LLM_RESPONSE,
            outcome=outcome,
            team=self._progress.team,
            request_id=self._progress.request_id,
            fields={
                "parent": str(self._parent),
                "status": status,
                "finish_reason": finish_reason,
                "prompt_tokens": self._ticket.prompt_tokens,
                "completion_tokens": completion_tokens,
                "ttft_ms": ttft_ms,
                "total_ms": self._ms(ended_ns),
                "error_code": error_code,
                "body": None if captured is None else captured.response_field(),
            },
        )

    def _ms(self, moment_ns: int) -> int:
        return (moment_ns - self._progress.started_ns) // 1_000_000
