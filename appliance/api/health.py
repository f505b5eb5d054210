"""``GET /health/live`` and ``GET /health/ready``, for whatever watches the host.

They need no key and tell no secret: only which part is not ready.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Health:
    """The two endpoints. ``not_ready`` names the parts that cannot serve now."""

    def __init__(self, *, not_ready: Callable[[], tuple[str, ...]]) -> None:
        self._not_ready = not_ready

    async def live(self, _request: Request) -> Response:
        """Answer 200 as long as the gateway runs."""
        return JSONResponse({"status": "live"})

    async def ready(self, _request: Request) -> Response:
        """Answer 200 when a request could be served, else 503 and what is missing."""
        missing = self._not_ready()
        if missing:
            return JSONResponse({"status": "not ready", "waiting_for": missing}, 503)
        return JSONResponse({"status": "ready"})
