"""Holds a place in an engine for whatever is asked of its model."""

from dataclasses import dataclass

from appliance.engine.embedding import ModelEngine
from appliance.engine.port import Ticket
from appliance.quota.allowance import urgency
from appliance.request_steps.model_requests import EmbeddingRequest, ModelRequest
from appliance.settings import Priority


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How urgent a request is, within what its team may have.

    Attributes:
        priority: The number an engine goes by; the lower one goes first.
        service_tier: The tier that this is, if the caller asked for any.
    """

    priority: int
    service_tier: str | None


def wish(request: ModelRequest, *, ceiling: Priority) -> Wish:
    """Return how urgent ``request`` is; ``ceiling`` is its team's priority."""
    asked = None if isinstance(request, EmbeddingRequest) else request
    number, tier = urgency(
        ceiling,
        service_tier=None if asked is None else asked.service_tier,
        priority=None if asked is None else asked.priority,
    )
    told = asked is not None and asked.service_tier is not None
    return Wish(priority=number, service_tier=tier if told else None)


async def reserve(
    engine: ModelEngine,
    request: ModelRequest,
    *,
    request_id: str,
    tenant: str,
    weight: int,
    priority: int,
    deadline_s: float,
) -> Ticket:
    """Hold a place.

    Raises:
        Error: What ``prepare`` or ``prepare_inputs`` of the engine raises.
    """
    if isinstance(request, EmbeddingRequest):
        return await engine.prepare_inputs(
            request_id,
            tenant=tenant,
            inputs=request.inputs,
            dimensions=request.dimensions,
            weight=weight,
        )
    return await engine.prepare(
        request_id,
        tenant=tenant,
        messages=request.messages,
        sampling=request.sampling,
        weight=weight,
        priority=priority,
        deadline_s=deadline_s,
    )
