"""Writes the kept bodies of exported records beside them, each with its salt.

Each is compared with what its record commits to before it is written: an export
never holds a text that is not the one of the call. Bodies that were erased, or that
their records commit to and that were never kept, are not there.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import rfc8785
from sqlalchemy import Connection, func, select

from appliance.db.tables import RecordRow
from appliance.ledger.exports import body_verifier
from appliance.ledger.exports.out_folder import new_file, write_new
from appliance.ledger.exports.selection import Selection
from bundleformat.errors import DigestMismatchError

PROGRAM = "verify_bodies.py"
"""What ``body_verifier`` is called in an export."""

Fetch = Callable[[str, str], tuple[bytes, bytes] | None]
"""Gives salt and text of a request's part, or None where it is no more."""


def write_bodies(folder: Path, fetch: Fetch) -> Iterator[str]:
    """Write the bodies that ``folder``'s records commit to; yield the files' names.

    Raises:
        DigestMismatchError: One is not what its record commits to.
        OSError: The disk refused.
    """
    with (
        (folder / body_verifier.RECORDS).open("rb") as records,
        new_file(folder / body_verifier.BODIES) as file,
    ):
        for record in records:
            line = _line(json.loads(record), fetch)
            if line is not None:
                file.write(line + b"\n")
    yield body_verifier.BODIES
    write_new(folder / PROGRAM, Path(body_verifier.__file__).read_bytes())
    yield PROGRAM


def count_bodies(connection: Connection, selection: Selection) -> tuple[int, int]:
    """Return how many bodies the selected records say were kept, and their bytes."""
    size = connection.execute(select(func.count()).select_from(RecordRow)).scalar_one()
    span = selection.span(size)
    rows = connection.execute(
        select(RecordRow.bytes_).where(
            RecordRow.seq >= span.start,
            RecordRow.seq < span.stop,
            RecordRow.event.in_(body_verifier.PARTS),
            selection.clause(),
        ),
        execution_options={"yield_per": 1_000},
    )
    sizes = [
        body["size_bytes"]
        for body in (
            json.loads(data).get("body", {}) for data in rows.scalars() if data
        )
        if body.get("capture") == "full" and "commitment" in body
    ]
    return len(sizes), sum(sizes)


def _line(record: dict[str, object], fetch: Fetch) -> bytes | None:
    part = body_verifier.PARTS.get(str(record["event"]))
    body = record.get("body")
    if part is None or not isinstance(body, dict) or body.get("capture") != "full":
        return None
    found = fetch(str(record["request_id"]), part)
    if found is None:
        return None
    salt, data = found
    digest = hashlib.sha256(body_verifier.CONTEXT + salt + data).hexdigest()
    if digest != body.get("commitment"):
        raise DigestMismatchError(
            f"the stored {part} is not what record {record['seq']} commits to",
            where="bodies.db",
            expected=str(body.get("commitment")),
            actual=digest,
            hint="Keep the file: it is evidence.",
        )
    return rfc8785.dumps(
        {
            "seq": str(record["seq"]),
            "part": part,
            "salt": base64.b64encode(salt).decode(),
            "body": base64.b64encode(data).decode(),
        }
    )
