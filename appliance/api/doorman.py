"""Lets requests in or turns them away by their head alone, before anything is made.

Three hundred requests may come at one moment. What is past a limit is answered
from here, by the protocol itself: no task, no body, no routing. Everything else
goes on to the application, which finds in the scope what the doorman decided.
"""

import uuid
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.api.errors import error_response
from appliance.request_flow import RequestFlow
from appliance.request_steps.parts import Entered, Knock, TurnedAway
from appliance.request_steps.patience import HEADER

_FOUND = "sallyport.found"
"""Where in the scope the application finds what was decided."""

_TIMEOUT = HEADER.encode("ascii")


class Doorman:
    """Looks at every request to a model, once.

    Args:
        flow: Counts them.
        names: What the ids of requests begin with, by path.
        body_bytes: Largest body that is read.
    """

    def __init__(
        self, flow: RequestFlow, *, names: Mapping[str, str], body_bytes: int
    ) -> None:
        self._flow = flow
        self._names = names
        self._body_bytes = body_bytes

    def __call__(self, scope: Scope) -> Response | None:
        """Return the whole answer to a request past a limit; None: it goes on."""
        if scope["method"] != "POST" or scope["path"] not in self._names:
            return None
        found = self.look(scope)
        if isinstance(found, TurnedAway) and found.told:
            return error_response(found.error, request_id=found.progress.request_id)
        return None

    def look(self, scope: Scope) -> Entered | TurnedAway:
        """Return what was decided about a request, now or before."""
        found: Entered | TurnedAway | None = scope.get(_FOUND)
        if found is None:
            found = self._flow.enter(self._knock(scope))
            scope[_FOUND] = found
        return found

    def leave(self, scope: Scope) -> None:
        """Give back what a request holds, if it was let in."""
        found = scope.get(_FOUND)
        if isinstance(found, Entered):
            self._flow.leave(found)

    def _knock(self, scope: Scope) -> Knock:
        authorization, length, timeout = b"", b"", None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = value
            elif name == _TIMEOUT:
                timeout = value.decode("latin-1")
        size = int(length[:20]) if length.isdigit() else None
        most = self._body_bytes
        return Knock(
            request_id=f"{self._names[scope['path']]}-{uuid.uuid4().hex}",
            credential=_bearer(authorization),
            timeout_header=timeout,
            body_bytes=most if size is None else min(size, most),
            text_bytes=size or 0,
        )


class Front:
    """The application, with a doorman who sees everybody out as well."""

    def __init__(self, app: ASGIApp, *, doorman: Doorman) -> None:
        self._app = app
        self.doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and give back what it holds, however it ended."""
        try:
            await self._app(scope, receive, send)
        finally:
            self.doorman.leave(scope)


def _bearer(authorization: bytes) -> str:
    """Return the bearer token, or an empty string: a key nobody has."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
