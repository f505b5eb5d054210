"""The error tree in OpenAI's error shape.

``{"error": {"message", "type", "param", "code"}}``: codes are the tree's,
in snake_case. A denial also carries ``policy_ids`` and ``reasons``.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from appliance.errors import (
    DeadlineError,
    EngineUnavailableError,
    ModelUnavailableError,
    OverloadedError,
    PolicyDeniedError,
    RateLimitError,
    RequestRefusedError,
)
from bundleformat.errors import Error, RefusalError

ENGINE_RETRY_S = 2
"""When to come back after an engine crash. Unit: seconds."""

LONGEST_RETRY_S = 120
"""Longest wait that a client keeps by itself. Unit: seconds."""

_NO_RETRY = {"x-should-retry": "false"}


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


def error_response(
    error: Error, *, request_id: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """Return the HTTP answer for ``error``.

    A retry is suggested where it is sensible, and advised against where it is not.
    """
    told = {"x-request-id": request_id, **headers, **_advice(error)}
    if error.http_status == 401:
        told["www-authenticate"] = "Bearer"
    if isinstance(error, OverloadedError):
        # What a flood is told is the same for everybody: it is written once.
        body = _overloaded(error.text(), error.error_type, error.code)
    else:
        body = _json(error_body(error))
    return Response(body, error.http_status, told, media_type="application/json")


@lru_cache(64)
def _overloaded(message: str, error_type: str, code: str) -> bytes:
    inner = {
        "message": message,
        "type": error_type,
        "param": None,
        "code": code.replace("-", "_"),
    }
    return _json({"error": inner})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _advice(error: Error) -> dict[str, str]:
    """Return the headers that say whether and when to ask again.

    Source: the official Python client, ``_should_retry``.
    """
    if isinstance(error, RateLimitError):
        wait_s = max(1, math.ceil(error.retry_after_s))
        said = {"retry-after": str(wait_s), **error.headers}
        return said if wait_s <= LONGEST_RETRY_S else {**said, **_NO_RETRY}
    if isinstance(error, OverloadedError):
        return {"retry-after": str(error.retry_after_s)}
    if isinstance(error, EngineUnavailableError):
        return {"retry-after": str(ENGINE_RETRY_S)}
    if isinstance(error, ModelUnavailableError):
        again_s = error.retry_after_s
        return _NO_RETRY if again_s is None else {"retry-after": str(again_s)}
    return _NO_RETRY if isinstance(error, DeadlineError) else {}
