"""From the bytes of a body to the fields of one of OpenAI's request shapes.

A field that is implemented is checked against its range. One that is known but not
implemented is accepted only with the value that changes nothing; anything else is
refused, because an option silently ignored is a wrong answer.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.errors import RequestRefusedError, UnsupportedParameterError


class Strict(BaseModel):
    """A shape that takes no other field and converts no value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Shape = TypeVar("_Shape", bound=Strict)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Raises:
        RequestRefusedError: It is none, or a text in it is not Unicode.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefusedError("the request body is not valid JSON") from error
    if not isinstance(value, dict):
        raise RequestRefusedError("the request body must be a JSON object")
    if b"\\ud" in body.lower():
        _check_unicode(value)
    return value


def _check_unicode(value: dict[str, Any]) -> None:
    """Refuse halves of surrogate pairs: JSON can write them, UTF-8 cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestRefusedError(
            "the request body has text that is not Unicode"
        ) from error


def implemented(
    value: dict[str, Any],
    *,
    schema: type[Strict],
    neutral: Mapping[str, tuple[Any, ...]],
    ignored: AbstractSet[str],
) -> dict[str, Any]:
    """Return the fields of ``value`` that ``schema`` has.

    Args:
        value: The body.
        schema: The implemented fields.
        neutral: Known fields that are not implemented, with the values that ask
            for nothing.
        ignored: Known fields that cannot change an answer, whatever they hold.

    Raises:
        UnsupportedParameterError: A field asks for more than is implemented.
    """
    for name, harmless in neutral.items():
        if name in value and not any(
            type(value[name]) is type(one) and value[name] == one for one in harmless
        ):
            raise UnsupportedParameterError(
                f"{name} is not supported by this server; leave it out", param=name
            )
    known = schema.model_fields.keys()
    for name in value:
        if name not in known and name not in neutral and name not in ignored:
            raise UnsupportedParameterError(
                f"this server does not know the parameter {name[:64]!r}",
                param=name[:64],
            )
    return {name: held for name, held in value.items() if name in known}


def validated(schema: type[_Shape], fields: dict[str, Any]) -> _Shape:
    """Return ``fields`` in their shape.

    Raises:
        RequestRefusedError: One is missing, of another type or out of its range.
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestRefusedError(
            f"{field}: {first['msg']}", param=str(first["loc"][0])
        ) from error
