"""``GET /metrics`` for Prometheus, to whoever asks on this host.

Numbers by model and nothing else. It needs no key, so it is told only over the
loopback interface, and not to a proxy there that asks for somebody else.
"""

import ipaddress
import uuid
from collections.abc import Awaitable, Callable

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from appliance.api.errors import error_response
from appliance.errors import NotHereError
from appliance.metrics.engines import EngineCollector, EngineSample
from appliance.metrics.meter import Meter

FORWARDED = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    }
)
"""Headers by which a proxy says that it asks for somebody else."""


class Metrics:
    """The endpoint. ``samples`` asks every engine how it is."""

    def __init__(
        self,
        *,
        meter: Meter,
        samples: Callable[[], Awaitable[tuple[EngineSample, ...]]],
    ) -> None:
        self._registry = meter.registry
        self._samples = samples
        self._engines = EngineCollector()
        self._registry.register(self._engines)

    async def scrape(self, request: Request) -> Response:
        """Answer with every metric in the format that was asked for."""
        if not _asks_here(request):
            refused = NotHereError("metrics are told only on the host itself")
            return error_response(refused, request_id=f"req-{uuid.uuid4().hex}")
        self._engines.samples = await self._samples()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body: bytes = encode(self._registry)
        return Response(body, headers={"content-type": content_type})


def _asks_here(request: Request) -> bool:
    """Whether the other end is this host, and asks for itself."""
    if request.client is None or FORWARDED & set(request.headers.keys()):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
