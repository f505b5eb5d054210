"""``GET /health/live`` and ``GET /health/ready``, for whatever watches the host.

They need no key and tell no secret: only which part is not ready.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Health:
    """The two endpoints.

    Args:
        not_ready: Names the parts without which this host is not to be asked.
        impaired: Names what some models suffer from while others serve.
        ledger: How the ledger is, LOW or HALTED and by what; nothing if it is well.
    """

    def __init__(
        self,
        *,
        not_ready: Callable[[], tuple[str, ...]],
        impaired: Callable[[], tuple[str, ...]],
        ledger: Callable[[], str],
    ) -> None:
        self._not_ready = not_ready
        self._impaired = impaired
        self._ledger = ledger

    async def live(self, _request: Request) -> Response:
        """Answer 200 as long as the gateway runs."""
        return JSONResponse({"status": "live"})

    async def ready(self, _request: Request) -> Response:
        """Answer 200 when a request could be served, else 503 and what is missing.

        A model that does not serve beside others that do is named as a kind, and
        does not take the whole host out of service.
        """
        impaired, ledger = self._impaired(), self._ledger()
        said: dict[str, object] = {"impaired": impaired} if impaired else {}
        if ledger:
            said["ledger"] = ledger
        missing = self._not_ready()
        if missing:
            body = {"status": "not ready", "waiting_for": missing, **said}
            return JSONResponse(body, 503)
        return JSONResponse({"status": "ready", **said})
