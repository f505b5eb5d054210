"""Finds the API key a request presents."""

from starlette.datastructures import Headers


def bearer_credential(headers: Headers) -> str:
    """Return the bearer token, or an empty string: a key nobody has."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
