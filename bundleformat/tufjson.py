"""Decodes TUF metadata so that the signed bytes and the parsed object agree.

The library verifies a signature over what it parsed, written anew. Where its
parser forgives something, such as an absent or null ``spec_version`` that it
fills in, the file could then differ from what was signed. So a file is accepted
only if the object, written anew, says exactly what the file says.

To Python, and so to the library, ``true`` is the number 1: a threshold, a version
or a length that is one of the two words is refused here, before anybody counts.
"""

from collections.abc import Iterator
from typing import Any, Final

from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from bundleformat import strictjson
from bundleformat.errors import MalformedError

_SWITCHES: Final = frozenset({"consistent_snapshot", "terminating"})
"""The fields of TUF that are true or false.

Source: TUF specification 1.0, sections 4.3 and 4.5.
"""


def decode_metadata(
    data: bytes, *, max_bytes: int, max_depth: int, where: str
) -> Metadata[Any]:
    """Return the metadata in ``data``; no signature is checked.

    Raises:
        MalformedError: Not strict JSON, not TUF metadata, metadata that the
            library reads differently from how it is written, or true or false
            where TUF has something else.
        LimitExceededError: Too long, or nested too deeply.
    """
    value = strictjson.decode(
        data, max_bytes=max_bytes, max_depth=max_depth, where=where
    )
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise MalformedError("not TUF metadata", where=where) from error
    for key in _misplaced(value):
        raise MalformedError(
            "true or false in the place of something else", where=f"{where}: {key!a}"
        )
    # Compared as canonical bytes, because to Python true equals 1.
    if strictjson.encode(metadata.to_dict()) != strictjson.encode(value):
        raise MalformedError("TUF metadata with more than one meaning", where=where)
    return metadata


def _misplaced(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield the key of every field that is true or false and may not be."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, bool) and key not in _SWITCHES:
            yield key
        yield from _misplaced(item)
    for item in value if isinstance(value, list) else ():
        yield from _misplaced(item)
