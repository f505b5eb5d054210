"""The error tree in OpenAI's error shape.

``{"error": {"message", "type", "param", "code"}}``: codes are the tree's,
in snake_case. A denial also carries ``policy_ids`` and ``reasons``.
"""

from typing import Any

from starlette.responses import JSONResponse

from appliance.errors import (
    EngineUnavailableError,
    ModelUnavailableError,
    OverloadedError,
    PolicyDeniedError,
    RequestRefusedError,
)
from bundleformat.errors import Error, RefusalError

ENGINE_RETRY_S = 2
"""When to come back after an engine crash. Unit: seconds."""


def error_body(error: Error) -> dict[str, Any]:
    """Return the OpenAI error object for ``error``."""
    fallback = (
        "invalid_request_error" if isinstance(error, RefusalError) else "server_error"
    )
    inner: dict[str, Any] = {
        "message": error.text(),
        "type": getattr(error, "error_type", fallback),
        "param": error.param if isinstance(error, RequestRefusedError) else None,
        "code": error.code.replace("-", "_"),
    }
    if isinstance(error, PolicyDeniedError):
        inner["policy_ids"] = list(error.policy_ids)
        inner["reasons"] = list(error.reasons)
    return {"error": inner}


def error_response(error: Error, *, request_id: str) -> JSONResponse:
    """Return the HTTP answer for ``error``; a retry is suggested where sensible."""
    headers = {"x-request-id": request_id}
    if isinstance(error, OverloadedError):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, EngineUnavailableError):
        headers["retry-after"] = str(ENGINE_RETRY_S)
    elif isinstance(error, ModelUnavailableError):
        if error.retry_after_s is None:
            headers["x-should-retry"] = "false"
        else:
            headers["retry-after"] = str(error.retry_after_s)
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_body(error), error.http_status, headers)
