"""The HTTP surface: every route, and what an unknown one gets."""

import uuid
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.api.chat import ChatExchange
from appliance.api.doorman import Doorman, Front
from appliance.api.embeddings import EmbeddingExchange
from appliance.api.exchange import ModelEndpoint
from appliance.api.health import Health
from appliance.api.metrics import Metrics
from appliance.api.models import Models
from appliance.clock import Clock
from appliance.request_flow import RequestFlow
from appliance.request_steps.parts import Host
from appliance.settings import Settings

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

NAMES = {CHAT: "chatcmpl", EMBEDDINGS: "embd"}
"""What the ids of requests to a model begin with, by path."""


def build_app(
    *,
    flow: RequestFlow,
    host: Host,
    settings: Settings,
    clock: Clock,
    not_ready: Callable[[], tuple[str, ...]],
    impaired: Callable[[], tuple[str, ...]],
    ledger: Callable[[], str],
    metrics: Metrics,
) -> Front:
    """Return the ASGI application; it holds no state of its own."""
    models = Models(host=host)
    health = Health(not_ready=not_ready, impaired=impaired, ledger=ledger)
    doorman = Doorman(flow, names=NAMES, body_bytes=settings.server.body_bytes)
    chat, embeddings = (
        ModelEndpoint(
            exchange, doorman=doorman, flow=flow, settings=settings, clock=clock
        )
        for exchange in (ChatExchange, EmbeddingExchange)
    )
    app = Starlette(
        routes=[
            Route("/v1/models", models.list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", models.get_model, methods=["GET"]),
            Route(CHAT, chat, methods=["POST"]),
            Route(EMBEDDINGS, embeddings, methods=["POST"]),
            Route("/metrics", metrics.scrape, methods=["GET"]),
            Route("/health/live", health.live, methods=["GET"]),
            Route("/health/ready", health.ready, methods=["GET"]),
        ],
        exception_handlers={
            404: _unknown_route,
            405: _unknown_route,
            500: _bug,
        },
    )
    return Front(app, doorman=doorman)


async def _unknown_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _plain(
        status,
        message=f"{request.method} {request.url.path} is not served here",
        kind="invalid_request_error",
        code="unknown_url" if status == 404 else "method_not_allowed",
    )


async def _bug(_request: Request, _error: Exception) -> Response:
    return _plain(
        500,
        message="the server failed; the operator finds the cause in its log",
        kind="server_error",
        code="internal_error",
    )


def _plain(status: int, *, message: str, kind: str, code: str) -> Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status, {"x-request-id": f"req-{uuid.uuid4().hex}"})
