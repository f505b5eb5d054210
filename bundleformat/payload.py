"""Reads the bytes of a small artifact from a medium, every one of them verified."""

from io import BytesIO

from bundleformat.artifact import Artifact
from bundleformat.digest import check_reader
from bundleformat.errors import LimitExceededError
from bundleformat.layout import chunk_path
from bundleformat.medium import Medium


def read_artifact(medium: Medium, artifact: Artifact, *, max_bytes: int) -> bytes:
    """Return the signed bytes of ``artifact`` on ``medium``; nothing is written.

    Raises:
        LimitExceededError: Larger than ``max_bytes``; it was not read.
        DigestMismatchError: A chunk, or the whole, is not what was signed.
        MissingError: A chunk is not on the medium.
    """
    if artifact.size_bytes > max_bytes:
        raise LimitExceededError(
            "too large to be held in memory",
            where=artifact.path,
            expected=f"at most {max_bytes} bytes",
            actual=f"{artifact.size_bytes} bytes",
        )
    data = bytearray()
    for chunk in artifact.chunks:
        where = chunk_path(chunk.sha256)
        with medium.open(where) as file:
            check_reader(
                file,
                sha256=chunk.sha256,
                sha384=chunk.sha384,
                size_bytes=chunk.size_bytes,
                where=where,
                sink=data.extend,
            )
    check_reader(
        BytesIO(data),
        sha256=artifact.sha256,
        sha384=artifact.sha384,
        size_bytes=artifact.size_bytes,
        where=artifact.path,
    )
    return bytes(data)
