"""The example at the end of the ledger's FORMAT.md, made anew from its two keys.

``python -m tests.support.ledger_example`` puts it into the page; a test compares.
"""

import base64
import datetime as dt
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import ledger
from appliance.ledger.exports.export import MANIFEST_TITLE
from appliance.ledger.records.events import Draft, Event, Outcome, encode_record
from appliance.ledger.tree.merkle import Frontier, leaf_hash
from appliance.ledger.tree.note import Checkpoint, VerifierKey, sign_note

PAGE: Final = Path(ledger.__file__).with_name("FORMAT.md")
NAME: Final = "example.org/audit/0123456789abcdef"
KEYS: Final = tuple(
    Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2)
)
START: Final = dt.datetime(2026, 11, 22, 8, 4, 29, 123456, tzinfo=dt.UTC)
TOOL: Final = "sallyport/0.1.0"

BLOCK: Final = re.compile(
    r"^`([\w./-]+)`:\n\n```text\n(.*?)```\n", re.MULTILINE | re.DOTALL
)
"""A file of the example, as the page has it."""


def verifier_keys() -> tuple[str, ...]:
    """Return the two verifier keys."""
    publics = (key.public_key().public_bytes_raw() for key in KEYS)
    return tuple(VerifierKey(name=NAME, public=each).encode() for each in publics)


def files() -> Mapping[str, bytes]:
    """Return every file of the example by its name."""
    first, second = verifier_keys()
    drafts = (
        _draft(Event.LOG_CREATED, vkey=first, tool=TOOL),
        _draft(Event.KEY_ROTATE, epoch=1, vkey=second, reason="start"),
        Draft(
            event=Event.LLM_REFUSED,
            outcome=Outcome.REFUSED,
            fields={"code": "invalid-api-key", "status": 401},
        ),
        _draft(Event.LOG_EXPORTED, size="4", tool=TOOL),
    )
    records = [
        encode_record(draft, seq=seq, now=START + seq * dt.timedelta(0, 1), origin=NAME)
        for seq, draft in enumerate(drafts)
    ]
    link: dict[str, Any] = {
        "epoch": 1,
        "vkey": second,
        "note": _head(records[:2], KEYS[0]).decode(),
        "record": records[1].decode(),
        "left": [base64.b64encode(leaf_hash(records[0])).decode()],
    }
    made = {
        "checkpoint.txt": _head(records, KEYS[1]),
        "epoch-keys.jsonl": rfc8785.dumps(link) + b"\n",
        "records.jsonl": b"".join(record + b"\n" for record in records),
        "verify.py": b"# An export has the program here; the example has none.\n",
    }
    manifest = _manifest(made, vkey=first)
    title = f"{MANIFEST_TITLE}\n{NAME}\n{hashlib.sha256(manifest).hexdigest()}\n"
    note = sign_note(title, name=NAME, signer=KEYS[1])
    return {**made, "manifest.json": manifest, "manifest.note": note}


def _draft(event: Event, **fields: str | int) -> Draft:
    return Draft(event=event, outcome=Outcome.OK, fields=fields)


def _head(records: list[bytes], signer: Ed25519PrivateKey) -> bytes:
    tree = Frontier().extended(map(leaf_hash, records))
    head = Checkpoint(origin=NAME, size=tree.size, root=tree.root())
    return sign_note(head.encode(), name=NAME, signer=signer)


def _manifest(made: Mapping[str, bytes], *, vkey: str) -> bytes:
    listed = [
        {
            "path": path,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": str(len(data)),
        }
        for path, data in sorted(made.items())
    ]
    return rfc8785.dumps(
        {
            "v": 1,
            "created": "2026-11-22T08:04:32.123456Z",
            "tool": TOOL,
            "origin": NAME,
            "vkey": vkey,
            "size": "4",
            "range": {"first": "0", "last": "3"},
            "redact": "digest",
            "files": listed,
        }
    )


def shown() -> str:
    """Return the example as the page shows it."""
    return "\n".join(
        f"`{name}`:\n\n```text\n{data.decode().rstrip()}\n```\n"
        for name, data in files().items()
    )


def read(page: str) -> Mapping[str, bytes]:
    """Return the files of the example as ``page`` has them."""
    whole = {name: text.encode() for name, text in BLOCK.findall(page)}
    return {
        name: data[:-1] if name == "manifest.json" else data
        for name, data in whole.items()
    }


def main() -> int:
    """Put the example into the page."""
    head, _, _ = PAGE.read_text("utf-8").partition("\n`checkpoint.txt`:\n")
    PAGE.write_text(f"{head}\n{shown()}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
