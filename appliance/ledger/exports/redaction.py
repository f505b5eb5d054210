"""How much an export tells of its records, and the listing where that is least.

A record is proven by the hash of its bytes: none of them can be blacked out and still
be proven. So a level either gives a record's bytes or withholds them whole, behind
their leaf hash. The names are those of ``team set --capture``:

- ``digest``: records as they are. They hold no prompt and no answer, at most digests.
- ``metadata``: no record's bytes but those that name the ledger's keys. In the place
  of each stands its hash, and ``listing.jsonl`` says what may be told of it.

The listing is the host's word, under its signature. An auditor picks lines of it when
it is out of the host's reach, and asks for those records by ``audit prove``: their
hashes are fixed, so a line that said something else is found out.

Who and what a record names is told by pseudonyms, keyed by a secret that ends with the
export: the same name has the same pseudonym in one listing, and another in the next.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, BinaryIO, Final

import rfc8785

from appliance.ledger.exports.selection import NEEDED
from bundleformat.errors import UsageError

LISTING: Final = "listing.jsonl"
"""What may be told of the records that are withheld, one line for each."""

PSEUDONYM_CHARACTERS: Final = 20
"""How much of a keyed digest is a pseudonym. Unit: hexadecimal characters."""

_TOLD: Final = frozenset(
    {
        *("seq", "ts", "event", "outcome", "parent", "endpoint", "prompt_tokens"),
        *("completion_tokens", "finish_reason", "status", "code", "error_code"),
        *("ttft_ms", "total_ms", "policy", "left_out"),
        *("channel", "version", "generation", "size", "records", "halt", "cause"),
        *("kind", "ranges", "presets", "days", "before", "hold"),
        *("epoch", "step", "crashes", "window_s", "exit_status", "command", "tool"),
    }
)
"""Fields that are told as they are: they name no person, no team and no text."""

_TOLD_WITHIN: Final[Mapping[str, frozenset[str]]] = {
    "model": frozenset({"name", "sha256", "generation"}),
    "body": frozenset({"capture", "lowered_from", "size_bytes"}),
    "labels": frozenset({"class", "class_source", "region"}),
    "params": frozenset({"stream", "max_tokens", "messages", "inputs"}),
}
"""Objects of which only these fields are told: not what commits to a text, and not
what a caller may have put into words or numbers of their own."""

_NAMED: Final[Mapping[str, str]] = {
    "team": "team",
    "request_id": "request",
    "key_id": "key",
    "operator_uid": "account",
    "login_uid": "account",
}
"""Fields that are told by a pseudonym, and what kind of name each holds."""


class Redaction(StrEnum):
    """How much is told."""

    METADATA = "metadata"
    DIGEST = "digest"
    FULL = "full"


def parse_redaction(text: str) -> Redaction:
    """Return the level that ``text`` names.

    Raises:
        UsageError: There is none.
    """
    try:
        return Redaction(text)
    except ValueError as error:
        raise UsageError(
            "no such level",
            where="--redact",
            expected=" or ".join(Redaction),
            actual=ascii(text),
        ) from error


class Listing:
    """Writes the listing while the records go by, and says which are withheld."""

    def __init__(self, file: BinaryIO, *, secret: bytes) -> None:
        """Write to ``file``; ``secret`` keys the pseudonyms and is kept by nobody."""
        self._file, self._secret = file, secret

    def withholds(self, record: bytes, leaf: bytes) -> bool:
        """Return whether a record's bytes stay here; if so its line is written."""
        fields = json.loads(record)
        if fields["event"] in NEEDED:
            return False
        line = {"leaf": leaf.hex(), **told(fields, pseudonym=self._pseudonym)}
        self._file.write(rfc8785.dumps(line) + b"\n")
        return True

    def _pseudonym(self, kind: str, name: str) -> str:
        message = f"{kind}\0{name}".encode()
        digest = hmac.digest(self._secret, message, hashlib.sha256).hex()
        return f"{kind}-{digest[:PSEUDONYM_CHARACTERS]}"


def told(
    fields: Mapping[str, Any], *, pseudonym: Callable[[str, str], str]
) -> dict[str, Any]:
    """Return what may be told of a record; a field that is not listed here is not."""
    line: dict[str, Any] = {
        name: value for name, value in fields.items() if name in _TOLD
    }
    for name, within in _TOLD_WITHIN.items():
        if name in fields:
            line[name] = {k: v for k, v in fields[name].items() if k in within}
    actor = fields.get("actor", {})
    for name, kind in _NAMED.items():
        value = fields.get(name, actor.get(name))
        if value is not None:
            line[name] = pseudonym(kind, str(value))
    return line
