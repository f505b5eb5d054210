"""Checks Sallyport's receipts of imports without trusting the host that wrote them.

    python -I verify_receipt.py FOLDER --key VKEY

FOLDER is what `receipts export` wrote. VKEY is the ledger's verifier key as it was
written down when the host was commissioned, not a copy that came with FOLDER.

This one file needs Python 3.11 and the package "cryptography". Take it from a
place you trust: the copy in FOLDER came over the same road as the evidence.

    exit 0  every receipt is in the signed ledger, and receipts.txt says what they say
         1  it could not be checked: a file is missing or the command is wrong
         2  a receipt, a proof or receipts.txt is not what was signed
         3  a signature is missing or wrong
         7  key chain: a key is not vouched for by the one before it

Specifications: RFC 6962 section 2.1.1 (inclusion), C2SP signed-note, tlog-checkpoint
and tlog-proof, RFC 8785 (records).
"""

import base64
import hashlib
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OK, UNCHECKED, RECORD, SIGNATURE, CHAIN = 0, 1, 2, 3, 7
TITLE = "sallyport receipts v1"
PROOF_TITLE = "c2sp.org/tlog-proof@v1"
PAGE, NOTE, CHECKPOINT = "receipts.txt", "receipts.note", "checkpoint.txt"
KEYS = "epoch-keys.jsonl"
PROGRAM = "verify_receipt.py"
MAX_BYTES = 1 << 24
NOT_PROVED = (
    "not proved: that the host recorded everything, that a record is true, or the "
    "clock; and nothing that is not in receipts.txt"
)
_FIRST = ("v", "seq", "ts", "log", "event", "outcome")


class CheckError(Exception):
    """A check failed: the exit status that says which kind, and the problem."""


def verify(folder: Path, vkey: str) -> str:
    """Return the page of receipts in ``folder`` after checking every one of them."""
    # 1. The auditor's key vouches for the next, and so on; the last signed the index.
    key = read_newest_key(folder, parse_key(vkey))
    index = open_note(read(folder, NOTE), key, NOTE).split("\n")
    if len(index) != 6 or index[:2] != [TITLE, key[0]]:
        raise CheckError(RECORD, f"{NOTE} is not an index of receipts of {key[0]}")
    # 2. So is the tree head, and it is the one the index was made under.
    head = read(folder, CHECKPOINT)
    tree = open_note(head, key, CHECKPOINT).split("\n")
    if len(tree) != 4 or tree[:2] != [key[0], index[2]] or not tree[1].isdecimal():
        raise CheckError(RECORD, f"{CHECKPOINT} is not the head the index names")
    # 3. Every receipt is a canonical record of this log, at its place below the head.
    numbers = sorted(int(p.stem) for p in folder.glob("*.json") if p.stem.isdecimal())
    records = []
    for number in numbers:
        data = read(folder, f"{number}.json")
        records.append(parse_record(data, number, key[0]))
        proof = read(folder, f"{number}.tlog-proof").decode("utf-8", "replace")
        check_proof(data, proof, number, head.decode("utf-8", "replace"))
    # 4. The page says what they say, no receipt more or less, and was signed.
    text = page(records, origin=key[0], size=tree[1], selection=index[3])
    digest = hashlib.sha256(text.encode()).hexdigest()
    if read(folder, PAGE) != text.encode() or index[4] != digest:
        raise CheckError(RECORD, f"{PAGE} does not say what the receipts say")
    return text


def parse_key(text: str) -> tuple[str, bytes, Ed25519PublicKey]:
    """Return name, id and key that ``text`` spells, after checking its own id."""
    name, key_id, body = (*text.split("+", 2), "", "")[:3]
    raw = from_base64(body)
    digest = hashlib.sha256(f"{name}\n".encode("utf-8", "replace") + raw).digest()[:4]
    if len(raw) != 33 or raw[:1] != b"\x01" or digest.hex() != key_id:
        raise CheckError(UNCHECKED, "--key is not a whole verifier key NAME+ID+BASE64")
    return name, digest, Ed25519PublicKey.from_public_bytes(raw[1:])


def read_newest_key(
    folder: Path, key: tuple[str, bytes, Ed25519PublicKey]
) -> tuple[str, bytes, Ed25519PublicKey]:
    """Return the last of the ledger's keys, each named under the one before it."""
    lines = read(folder, KEYS).split(b"\n")
    if lines.pop():
        raise CheckError(CHAIN, f"{KEYS} does not end with a line")
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            head = open_note(entry["note"].encode(), key, KEYS).split("\n")
            record = entry["record"].encode()
            fields = parse_record(record, int(head[1]) - 1, key[0])
            root = hashlib.sha256(b"\x00" + record).digest()
            for left in reversed(entry["left"]):
                root = hashlib.sha256(b"\x01" + from_base64(left) + root).digest()
            said = (head[0], from_base64(head[2]), fields["event"], fields["epoch"])
            following = parse_key(fields["vkey"])
            stated = {**entry, "epoch": number, "vkey": fields["vkey"]}
            same = _canonical(stated) == line
        except (CheckError, LookupError, ValueError, TypeError, AttributeError) as why:
            problem = f"line {number} of {KEYS}: {why.args[-1]}"
            raise CheckError(CHAIN, problem) from None
        if not same or said != (key[0], root, "key.rotate", number):
            raise CheckError(CHAIN, f"line {number} of {KEYS} is not in the log")
        key = following
    return key


def open_note(data: bytes, key: tuple[str, bytes, Ed25519PublicKey], name: str) -> str:
    """Return the text of a C2SP note whose one signature is by ``key``."""
    text, _, line = data.rpartition(b"\n\n")
    dash, signer, body = (*line.decode("utf-8", "replace").split(" "), "", "", "")[:3]
    raw = from_base64(body.removesuffix("\n"))
    spelt = f"\N{EM DASH} {key[0]} {base64.b64encode(raw).decode()}\n"
    if (dash, signer, raw[:4]) != ("\N{EM DASH}", *key[:2]) or spelt.encode() != line:
        raise CheckError(SIGNATURE, f"{name} is not signed by {key[0]} alone")
    try:
        key[2].verify(raw[4:], text + b"\n")
    except InvalidSignature:
        raise CheckError(SIGNATURE, f"{name}: wrong signature") from None
    return text.decode("utf-8", "replace") + "\n"


def parse_record(data: bytes, number: int, origin: str) -> dict[str, Any]:
    """Return the record in ``data`` if it is canonical, and number ``number``."""
    try:
        record = json.loads(data, parse_float=_no_float, parse_constant=_no_float)
        same = _canonical(record)
    except (ValueError, RecursionError):
        raise CheckError(RECORD, f"{number}.json is not a record") from None
    stated = [record.get(name) for name in _FIRST] if isinstance(record, dict) else []
    if same != data or stated[:2] != [1, str(number)] or stated[3] != origin:
        raise CheckError(RECORD, f"{number}.json is not record {number} of {origin}")
    return dict(record)


def check_proof(data: bytes, proof: str, number: int, head: str) -> None:
    """Check that ``proof`` leads from a record to the root in ``head``."""
    path, _, under = proof.partition("\n\n")
    steps = path.split("\n")
    if steps[:2] != [PROOF_TITLE, f"index {number}"] or under != head:
        raise CheckError(RECORD, f"{number}.tlog-proof is of another record or head")
    _, size, root, *_ = head.split("\n")
    node, last = number, int(size) - 1
    found = hashlib.sha256(b"\x00" + data).digest()
    for sibling in map(from_base64, steps[2:]):
        if node & 1 or node == last:
            found = hashlib.sha256(b"\x01" + sibling + found).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0 or number >= int(size) or found != from_base64(root):
        raise CheckError(RECORD, f"{number}.json is not in the signed ledger")


def page(
    records: list[dict[str, Any]], *, origin: str, size: str, selection: str
) -> str:
    """Return the page that a person reads: every field of every record."""
    lines = [f"Receipts of {origin}", f"Signed head over {size} records; {selection}"]
    for record in records:
        head = f"{record['ts']}  {record['event']}  {record['outcome']}"
        lines += ["", f"#{record['seq']}  {head}"]
        for name, value in sorted(record.items()):
            if name in _FIRST:
                continue
            for item in value if isinstance(value, list) else [value]:
                said = item if isinstance(item, str) else json.dumps(item)
                lines.append(f"    {name:<20} {said}")
    text = "\n".join(lines) + "\n"
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def read(folder: Path, name: str) -> bytes:
    """Return the bytes of a plain file of ``folder`` that is not too long."""
    path = folder / name
    try:
        if path.is_symlink() or path.is_dir() or path.stat().st_size > MAX_BYTES:
            raise CheckError(UNCHECKED, f"{name} is too long or not a plain file")
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise CheckError(UNCHECKED, f"{name}: {error.strerror}") from None


def from_base64(text: str) -> bytes:
    """Return the bytes whose one base64 spelling is ``text``, or none at all."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""


def _canonical(value: object) -> bytes:
    """Return ``value`` in RFC 8785; what was read has no floats and ASCII names."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _no_float(_text: str) -> NoReturn:
    raise ValueError("records hold no floating point numbers")


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with 1, since argparse's own 2 means something else here."""
        self.exit(UNCHECKED, f"{PROGRAM}: {message}\n")


def main(arguments: list[str]) -> int:
    """Print the page and the verdict, and return the exit status."""
    parser = _Parser(description="Checks receipts; see the first lines of this file.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", required=True, metavar="VKEY")
    chosen = parser.parse_args(arguments)
    try:
        sys.stdout.write(verify(chosen.folder, chosen.key))
    except CheckError as error:
        status, problem = error.args
        sys.stdout.write(f"FAILED ({status}): {problem!a}\n")
        return int(status)
    sys.stdout.write(f"\nVERIFIED; {NOT_PROVED}\n")
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
