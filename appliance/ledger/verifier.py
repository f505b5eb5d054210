"""Checks an exported Sallyport ledger without trusting the host that wrote it.

    python -I verify.py FOLDER --key VKEY [--held OLD_CHECKPOINT]...

FOLDER is an export. VKEY is the log's verifier key as it was written down when
the host was commissioned, not a copy that came with FOLDER. Each --held names a
checkpoint.txt of an earlier export that has been out of the host's reach since.

This one file needs Python 3.11 and the package "cryptography"; it reads FOLDER,
opens nothing else and writes nothing. Take it from a place you trust: the copy
in FOLDER came over the same road as the evidence.

    exit 0  everything that can be checked holds
         1  it could not be checked: a file is missing or the command is wrong
         2  records or files differ from what was signed
         3  a signature is missing or wrong
         4  truncated: records that were signed for are not there
         5  inconsistent history: a held checkpoint covered other records
         6  gap: a record is missing between two others

Files that the manifest says were derived from records.jsonl are checked to be
unchanged; they are for convenience, and nothing else is concluded from them.

Specifications: RFC 6962 section 2.1 (tree), C2SP signed-note and tlog-checkpoint
(signatures), RFC 8785 (records and manifest).
"""

import base64
import hashlib
import json
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OK, UNCHECKED, RECORD, SIGNATURE, TRUNCATED, INCONSISTENT, GAP = range(7)

LISTED = ("checkpoint.txt", "records.jsonl", "verify.py")
FILES = (*LISTED, "manifest.json", "manifest.note")
"""The files of an export; those of LISTED are in its manifest, in this order."""

MAX_BYTES = 1 << 20
"""Longest record, and longest file of FILES but records.jsonl. Unit: bytes."""

DERIVED_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9]{1,8}){1,2}")
"""What a file may be called that was made from records.jsonl for convenience."""

NOT_PROVED = (
    "that the host recorded every call: only what it recorded can be checked",
    "that a record is true: a host in wrong hands can write false ones",
    "the clock: times are what the host believed",
    "anything after the newest record of this export",
)


@dataclass(frozen=True)
class Verdict:
    """The answer: an exit status, what holds, what failed, what stays open."""

    status: int
    problem: str
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]
    origin: str = ""
    size: int = 0
    root: str = ""

    def text(self) -> str:
        """Return the verdict as lines for a person."""
        lines = [f"  holds: {fact}" for fact in self.proved]
        if self.status == OK:
            lines += [f"  not proved: {gap}" for gap in self.not_proved]
            lines += [f"VERIFIED: {self.size} records of {self.origin}"]
        else:
            lines += [f"FAILED ({self.status}): {self.problem}"]
        return "\n".join(lines) + "\n"


class CheckError(Exception):
    """A check failed; ``status`` is the exit status that says which kind."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


@dataclass(frozen=True)
class Key:
    """The verifier key as it was given, and what it says: name, id, public key."""

    text: str
    name: str
    key_id: bytes
    public: Ed25519PublicKey


@dataclass(frozen=True)
class Checkpoint:
    """A tree head whose signature has been verified."""

    size: int
    root: bytes


@dataclass
class Tree:
    """The growing tree: one root per perfect subtree, largest first."""

    size: int = 0
    roots: list[bytes] = field(default_factory=list)

    def append(self, data: bytes) -> None:
        """Add the leaf of ``data``."""
        carried = hashlib.sha256(b"\x00" + data).digest()
        full = self.size
        while full & 1:
            carried = hashlib.sha256(b"\x01" + self.roots.pop() + carried).digest()
            full >>= 1
        self.roots.append(carried)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree head."""
        if not self.roots:
            return hashlib.sha256(b"").digest()
        *left, result = self.roots
        for subtree in reversed(left):
            result = hashlib.sha256(b"\x01" + subtree + result).digest()
        return result


@dataclass
class Reading:
    """What one pass over records.jsonl found."""

    tree: Tree = field(default_factory=Tree)
    roots: dict[int, bytes] = field(default_factory=dict)
    digest: str = ""
    size_bytes: int = 0
    misplaced: str = ""
    events: Counter[str] = field(default_factory=Counter)
    unanswered: set[str] = field(default_factory=set)
    first_ts: str = ""
    last_ts: str = ""


def verify(folder: Path, *, key: str, held: tuple[Path, ...] = ()) -> Verdict:
    """Return the verdict on an export, given its log's key and held checkpoints."""
    proved: list[str] = []
    try:
        return _verify(folder, key, held, proved)
    except CheckError as error:
        status, problem = error.status, _shown(str(error))
    except OSError as error:
        status, problem = UNCHECKED, f"cannot read {error.filename}: {error.strerror}"
    return Verdict(status, problem, tuple(proved), NOT_PROVED)


def _verify(
    folder: Path, vkey: str, held: tuple[Path, ...], proved: list[str]
) -> Verdict:
    # 1. The checkpoint of this export is signed by the key the auditor gave.
    key = parse_key(vkey)
    head = read_checkpoint(folder / "checkpoint.txt", key)
    proved.append(f"the checkpoint over {head.size} records is signed by {key.name}")
    # 2. So is every held checkpoint, and none covers more than this export.
    anchors = [(path, read_checkpoint(path, key)) for path in held]
    for path, anchor in anchors:
        if anchor.size > head.size:
            problem = f"{path} covers {anchor.size} records, this export {head.size}"
            raise CheckError(TRUNCATED, problem)
    # 3. There is one canonical record for each number from 0, and no other.
    sizes = {anchor.size for _, anchor in anchors}
    reading = read_records(folder / "records.jsonl", key.name, sizes)
    check_count(reading, head)
    proved.append("the records are numbered without a gap and in canonical form")
    # 4. Together they hash to the signed root.
    if reading.misplaced:
        raise CheckError(RECORD, reading.misplaced)
    if reading.tree.root() != head.root:
        raise CheckError(RECORD, "the records do not hash to the signed root")
    proved.append("the records hash to the signed root: none was changed or moved")
    # 5. The first records hash to the root of each held checkpoint.
    for path, anchor in anchors:
        if reading.roots[anchor.size] != anchor.root:
            raise CheckError(INCONSISTENT, f"{path} was signed over other records")
        proved.append(f"the first {anchor.size} are those that {path} was signed over")
    # 6. The manifest is signed, and the files are those it lists.
    derived = check_manifest(folder, key, head, reading)
    proved.append("the manifest is signed and every file it lists is unchanged")
    proved.append(summary(reading))
    gaps = NOT_PROVED + _history_gap(sizes, head) + _convenience(derived)
    gaps += _not_covered(folder, derived)
    return Verdict(OK, "", tuple(proved), gaps, key.name, head.size, head.root.hex())


def parse_key(text: str) -> Key:
    """Return the key that ``text`` spells, after checking its own id."""
    name, key_id, body = (*text.split("+", 2), "", "")[:3]
    raw = from_base64(body)
    digest = hashlib.sha256(f"{name}\n".encode("utf-8", "replace") + raw).digest()[:4]
    if len(raw) != 33 or raw[:1] != b"\x01" or digest.hex() != key_id:
        raise CheckError(UNCHECKED, "--key is not a whole verifier key NAME+ID+BASE64")
    return Key(text, name, digest, Ed25519PublicKey.from_public_bytes(raw[1:]))


def open_note(data: bytes, key: Key, name: str) -> str:
    """Return the text of a C2SP note that ``key`` signed."""
    text, gap, block = data.rpartition(b"\n\n")
    lines, signed = block.decode("utf-8", "replace").split("\n"), False
    if not gap or lines.pop():
        raise CheckError(SIGNATURE, f"{name} is not a signed note")
    for line in lines:
        dash, signer, body = (*line.split(" "), "", "", "")[:3]
        raw = from_base64(body)
        if f"{dash} {signer} {body}" != line or dash != "\N{EM DASH}" or not raw:
            raise CheckError(SIGNATURE, f"{name} has a line that is no signature")
        if (signer, raw[:4]) == (key.name, key.key_id):
            try:
                key.public.verify(raw[4:], text + b"\n")
            except InvalidSignature:
                raise CheckError(SIGNATURE, f"{name}: wrong signature") from None
            signed = True
    if not signed:
        raise CheckError(SIGNATURE, f"{name} is not signed by {key.name}")
    return text.decode("utf-8", "replace") + "\n"


def read_checkpoint(path: Path, key: Key) -> Checkpoint:
    """Return the checkpoint in ``path`` if ``key`` signed it for its own log."""
    lines = open_note(read_small(path), key, str(path)).split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != key.name:
        raise CheckError(SIGNATURE, f"{path} is not a checkpoint of {key.name}")
    root = from_base64(lines[2])
    if not re.fullmatch("[0-9]{1,19}", lines[1]) or len(root) != 32:
        raise CheckError(SIGNATURE, f"{path} has no size and root")
    return Checkpoint(int(lines[1]), root)


def read_records(path: Path, origin: str, sizes: set[int]) -> Reading:
    """Read records.jsonl once, line by line, remembering roots at ``sizes``."""
    found, digest, line = Reading(), hashlib.sha256(), b"\n"
    with open_plain(path) as file:
        while line.endswith(b"\n"):
            if found.tree.size in sizes:
                found.roots[found.tree.size] = found.tree.root()
            line = file.readline(MAX_BYTES + 1)
            digest.update(line)
            found.size_bytes += len(line)
            if line.endswith(b"\n"):
                take_record(found, line[:-1], origin)
    found.digest = digest.hexdigest()
    if line:
        raise CheckError(TRUNCATED, "records.jsonl ends inside a record")
    return found


def take_record(found: Reading, data: bytes, origin: str) -> None:
    """Check one record's form and place, and count it."""
    place = found.tree.size
    where = f"line {place + 1} of records.jsonl"
    record = parse_canonical(data, where)
    if (record.get("v"), record.get("log")) != (1, origin):
        raise CheckError(RECORD, f"{where} is not a record of {origin}")
    if record.get("seq") != str(place) and not found.misplaced:
        found.misplaced = f"{where} is record {record.get('seq')}, not {place}"
    found.last_ts = str(record.get("ts"))
    found.first_ts = found.first_ts or found.last_ts
    event, request = str(record.get("event")), str(record.get("request_id"))
    found.events[event] += 1
    if event == "llm.request":
        found.unanswered.add(request)
    elif event in ("llm.response", "llm.aborted"):
        found.unanswered.discard(request)
    found.tree.append(data)


def check_count(found: Reading, head: Checkpoint) -> None:
    """Check that there are as many records as the checkpoint was signed over."""
    count = f"{found.tree.size} records where {head.size} were signed"
    if found.tree.size < head.size and found.misplaced:
        raise CheckError(GAP, f"{count}: {found.misplaced}")
    if found.tree.size < head.size:
        raise CheckError(TRUNCATED, f"{count}: the last ones are missing")
    if found.tree.size > head.size:
        raise CheckError(RECORD, f"{count}: some were added at the end")


def check_manifest(
    folder: Path, key: Key, head: Checkpoint, found: Reading
) -> tuple[str, ...]:
    """Check the manifest and every file it lists; return the derived ones' names."""
    data = read_small(folder / "manifest.json")
    text = open_note(read_small(folder / "manifest.note"), key, "manifest.note")
    digest = hashlib.sha256(data).hexdigest()
    if text != f"sallyport export manifest v1\n{key.name}\n{digest}\n":
        raise CheckError(RECORD, "manifest.json is not the one that was signed")
    manifest = parse_canonical(data, "manifest.json")
    listed, derived = _split(manifest.get("files"))
    actual = []
    for name in LISTED:
        digest, size = found.digest, found.size_bytes
        if name != "records.jsonl":
            held = read_small(folder / name)
            digest, size = hashlib.sha256(held).hexdigest(), len(held)
        actual.append({"path": name, "sha256": digest, "size_bytes": str(size)})
        if actual[-1] not in listed:
            raise CheckError(RECORD, f"{name} is not what manifest.json says it is")
    stated = [manifest.get(name) for name in ("v", "origin", "vkey", "size")]
    if [*stated, listed] != [1, key.name, key.text, str(head.size), actual]:
        raise CheckError(RECORD, "manifest.json is of another log or checkpoint")
    return tuple(check_derived(folder, file) for file in derived)


def _split(files: object) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the manifest's entries of evidence, and those of derived files."""
    entries: list[Any] = files if isinstance(files, list) else []
    derived = [e for e in entries if isinstance(e, dict) and "derived_from" in e]
    return [entry for entry in entries if entry not in derived], derived


def check_derived(folder: Path, entry: dict[str, Any]) -> str:
    """Check that a file made from the records is the one that was written with them."""
    name = entry.get("path")
    if not isinstance(name, str) or not DERIVED_NAME.fullmatch(name) or name in FILES:
        raise CheckError(RECORD, "manifest.json lists a file of an impossible name")
    digest, size = hashlib.sha256(), 0
    with open_plain(folder / name) as file:
        while block := file.read(MAX_BYTES):
            digest.update(block)
            size += len(block)
    stated = {"sha256": digest.hexdigest(), "size_bytes": str(size)}
    if entry != {"path": name, "derived_from": "records.jsonl", **stated}:
        raise CheckError(RECORD, f"{name} is not what manifest.json says it is")
    return name


def summary(found: Reading) -> str:
    """Return one sentence on what the records are about."""
    counts = ", ".join(f"{n} {event}" for event, n in sorted(found.events.items()))
    counts += f"; {len(found.unanswered)} requests without an outcome yet"
    return _shown(f"{found.first_ts} to {found.last_ts}: {counts}")


def _shown(text: str) -> str:
    """Return ``text`` so that what came from an export cannot drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _history_gap(sizes: set[int], head: Checkpoint) -> tuple[str, ...]:
    """Say which records the host could still have rewritten before this export."""
    newest = max(sizes, default=0)
    gap = f"that records from {newest} on were not rewritten before this export: "
    advice = "no later checkpoint was held; keep this checkpoint.txt for next time"
    return () if newest == head.size else (gap + advice,)


def _convenience(derived: tuple[str, ...]) -> tuple[str, ...]:
    """Say of files made from the records that they are no evidence themselves."""
    said = "unchanged since the export, but made for convenience: the proof is of"
    return (f"{', '.join(derived)}: {said} records.jsonl alone",) if derived else ()


def _not_covered(folder: Path, derived: tuple[str, ...]) -> tuple[str, ...]:
    """Name what else lies in the folder, of which no signature says anything."""
    known = {*FILES, *derived}
    extra = sorted(path.name for path in folder.iterdir() if path.name not in known)
    names = _shown(", ".join(extra))
    return (f"{names}: not covered by any signature",) if extra else ()


def parse_canonical(data: bytes, where: str) -> dict[str, Any]:
    """Return the object in ``data`` if these are its RFC 8785 bytes."""
    try:
        value = json.loads(data, parse_float=_no_float, parse_constant=_no_float)
        same = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
    except (ValueError, RecursionError):
        raise CheckError(RECORD, f"{where} is not a record") from None
    if not isinstance(value, dict) or same != data:
        raise CheckError(RECORD, f"{where} is not in canonical form")
    return value


def _no_float(_text: str) -> NoReturn:
    raise ValueError("records hold no floating point numbers")


def from_base64(text: str) -> bytes:
    """Return the bytes whose one base64 spelling is ``text``, or none at all."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""


def open_plain(path: Path) -> BinaryIO:
    """Open ``path`` if it is a plain file: nothing that points or blocks."""
    if path.is_symlink() or not path.is_file():
        raise CheckError(UNCHECKED, f"{path} is missing or not a plain file")
    return path.open("rb")


def read_small(path: Path) -> bytes:
    """Return the bytes of a file that has no reason to be long."""
    with open_plain(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise CheckError(UNCHECKED, f"{path} is longer than {MAX_BYTES} bytes")
    return data


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with 1, since argparse's own 2 means something else here."""
        self.exit(UNCHECKED, f"verify.py: {message}\n")


def main(arguments: list[str]) -> int:
    """Print the verdict and return the exit status."""
    parser = _Parser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", required=True, metavar="VKEY")
    parser.add_argument("--held", type=Path, action="append", default=[])
    chosen = parser.parse_args(arguments)
    verdict = verify(chosen.folder, key=chosen.key, held=tuple(chosen.held))
    sys.stdout.write(verdict.text())
    return verdict.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
