"""Reads a request body inside its limit, before anything parses it."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from appliance.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    MediaTypeError,
)


async def read_json_body(
    request: Request, *, max_bytes: int, timeout_s: float
) -> bytes:
    """Return the body's bytes; the rest of an over-long body is not read.

    Raises:
        MediaTypeError: The content type is not JSON.
        BodyTooLargeError: More than ``max_bytes`` were announced or arrived.
        BodyTimeoutError: It was not complete after ``timeout_s`` seconds.
        ClientGoneError: The client went away.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise MediaTypeError("the request body must be application/json")
    too_large = BodyTooLargeError(f"the request body is above {max_bytes} bytes")
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or int(announced) > max_bytes:
        raise too_large
    held = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                held += part
                if len(held) > max_bytes:
                    raise too_large
    except ClientDisconnect as error:
        raise ClientGoneError("the client went away before the body ended") from error
    except TimeoutError as error:
        raise BodyTimeoutError(
            f"the request body was not complete after {timeout_s} seconds"
        ) from error
    return bytes(held)
