"""Decodes TUF metadata so that the signed bytes and the parsed object agree.

The library verifies a signature over what it parsed, written anew. Where its
parser forgives something, such as an absent or null ``spec_version`` that it
fills in, the file could then differ from what was signed. So a file is accepted
only if the object, written anew, says exactly what the file says.
"""

from typing import Any

from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from bundleformat import strictjson
from bundleformat.errors import MalformedError


def decode_metadata(
    data: bytes, *, max_bytes: int, max_depth: int, where: str
) -> Metadata[Any]:
    """Return the metadata in ``data``; no signature is checked.

    Raises:
        MalformedError: Not strict JSON, not TUF metadata, or metadata that the
            library reads differently from how it is written.
        LimitExceededError: Too long, or nested too deeply.
    """
    value = strictjson.decode(
        data, max_bytes=max_bytes, max_depth=max_depth, where=where
    )
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise MalformedError("not TUF metadata", where=where) from error
    # Compared as canonical bytes, because to Python true equals 1.
    if strictjson.encode(metadata.to_dict()) != strictjson.encode(value):
        raise MalformedError("TUF metadata with more than one meaning", where=where)
    return metadata
