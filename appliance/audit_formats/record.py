"""A record as the formats take it: its number, its leaf hash and what it says.

Records come as the exact bytes that the ledger hashed; nothing here writes them
anew, and no format replaces them. Source: RFC 6962, section 2.1 (the leaf hash).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bundleformat.errors import MalformedError

EVIDENCE: Final = "records.jsonl"
"""The file of an export that proves something; every format names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecord:
    """One record of a ledger.

    Attributes:
        seq: Its number.
        leaf: Its leaf hash in the ledger's tree, hexadecimal.
        fields: All that it says, as decoded.
        size_bytes: The length of its canonical bytes.
    """

    seq: int
    leaf: str
    fields: Mapping[str, Any]
    size_bytes: int

    def text(self, *path: str) -> str:
        """Return the text or number at ``path``, or nothing where there is none."""
        value = self.at(*path)
        return str(value) if isinstance(value, str | int) else ""

    def count(self, *path: str) -> int:
        """Return the number at ``path``, or 0 where there is none."""
        value = self.at(*path)
        return value if type(value) is int else 0

    def at(self, *path: str) -> Any:  # noqa: ANN401 - whatever JSON holds there
        """Return what lies at ``path``, or None."""
        value: Any = self.fields
        for name in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value


def read_record(data: bytes) -> AuditRecord:
    """Return the record whose canonical bytes, without a line end, are ``data``.

    Raises:
        MalformedError: It is no record.
    """
    try:
        fields = json.loads(data)
        seq = int(fields["seq"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise MalformedError(
            "the ledger holds something that is no record",
            where="ledger",
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        ) from error
    leaf = hashlib.sha256(b"\x00" + data).hexdigest()
    return AuditRecord(seq=seq, leaf=leaf, fields=fields, size_bytes=len(data))
