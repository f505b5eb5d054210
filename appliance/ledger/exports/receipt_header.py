"""The receipt that travels in the header of an answer: ``SIZE.ROOT.SEQ``.

It names the tree head that was signed when record ``SEQ`` became durable, and so
makes every caller a witness: a history in which the first ``SIZE`` records hash to
another root is not the one this caller was told of.
"""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.ledger.log.append import Receipt
from bundleformat.errors import MalformedError

HEADER = "x-audit-receipt"
"""Name of the header."""

_FORM = re.compile(r"([1-9][0-9]{0,18})\.([A-Za-z0-9_-]{43})\.(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldReceipt:
    """What a caller was told: a tree head, and the number of a record below it."""

    size: int
    root: bytes
    seq: int


def find_record(folder: Path, seq: int) -> dict[str, Any] | None:
    """Return a record of an export that has been verified, if it is in there."""
    with (folder / "records.jsonl").open("rb") as lines:
        records = map(json.loads, lines)
        return next((each for each in records if each["seq"] == str(seq)), None)


def receipt_text(receipt: Receipt) -> str:
    """Return a receipt as the header carries it; base64url without padding."""
    root = base64.urlsafe_b64encode(receipt.root).decode().rstrip("=")
    return f"{receipt.size}.{root}.{receipt.seq}"


def parse_receipt(text: str) -> ToldReceipt:
    """Return what the header of an answer says.

    Raises:
        MalformedError: It is no receipt in its one encoding.
    """
    found = _FORM.fullmatch(text)
    root = base64.urlsafe_b64decode(found[2] + "=") if found else b""
    told = base64.urlsafe_b64encode(root).decode().rstrip("=") if found else ""
    if not found or told != found[2] or int(found[3]) >= int(found[1]):
        raise MalformedError(
            "not a receipt",
            where="receipt",
            expected="SIZE.ROOT.SEQ",
            hint=f"Give the whole value of the header {HEADER} of one answer.",
        )
    return ToldReceipt(size=int(found[1]), root=root, seq=int(found[3]))
