"""Checks an exported Sallyport ledger without trusting the host that wrote it.

    python -I verify.py FOLDER --key VKEY [--held CHECKPOINT]... [--witness VKEY]...

It needs Python 3.11 and "cryptography", opens nothing but what it is given, and writes
nothing. Take it from a place you trust: the copy in FOLDER came with the evidence.

    exit 0  everything that can be checked holds
         1  it could not be checked: a file is missing or the command is wrong
         2  records or files differ from what was signed
         3  a signature is missing or wrong
         4  truncated: records that were signed for are not there
         5  inconsistent history: another signed checkpoint covered other records
         6  gap: a record is missing between two others
         7  key chain: a key is not vouched for by the one before it
Specifications: RFC 6962 and 8785; C2SP signed-note, tlog-checkpoint, tlog-cosignature.
"""

import base64
import json
import re
import sys
from argparse import ArgumentParser, RawTextHelpFormatter
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OK, UNCHECKED, RECORD, SIGNATURE, TRUNCATED, INCONSISTENT, GAP, CHAIN = range(8)
LISTED = ("checkpoint.txt", "epoch-keys.jsonl", "records.jsonl", "verify.py")
FILES = (*LISTED, "manifest.json", "manifest.note")  # others may be listed as well
PATH = re.compile(r"(consistency/)?\w[\w.-]*", re.ASCII)
RANGE = "'([0-9]{1,19})-([0-9]{1,19})'"  # of records, as a log.pruned lists them
MAX_BYTES = 1 << 20  # of the longest line, and of a file that is read whole
Head = tuple[int, bytes, str]  # that somebody vouches for: records, root, and who
Held = Sequence[Path | Head]
Keys = Sequence[str]
SHORT, TITLE = (",", ":"), "sallyport export manifest v1"
UNPACK = "is a file: unpack it (tar -xf, mount, open_export.py), then verify the folder"
ADVICE = "were not rewritten before this export: keep its checkpoint.txt for next time"
OWN = "it is this export's own checkpoint and proves nothing about rewriting"
NOT_PROVED = (
    "that the host recorded every call: only what it recorded can be checked",
    "that a record is true: a host in wrong hands can write false ones",
    "the clock: times are what the host believed",
    "that a data class is right: the caller or a default chose it",
    "anything after the newest record of this export",
)


class Verdict(NamedTuple):
    """The answer: an exit status, what failed, what holds, what stays open."""

    status: int
    problem: str
    proved: tuple[str, ...]
    not_proved: tuple[str, ...] = NOT_PROVED
    origin: str = ""
    size: int = 0
    records: int = 0

    def text(self) -> str:
        """Return the verdict as lines for a person."""
        lines = [f"  holds: {fact}" for fact in self.proved]
        result = f"FAILED ({self.status}): {self.problem}"
        if self.status == OK:
            lines += [f"  not proved: {gap}" for gap in self.not_proved]
            part = "" if self.records == self.size else f"{self.records} of "
            result = f"VERIFIED: {part}{self.size} records of {self.origin}"
        return "\n".join([*lines, result, ""])


class CheckError(Exception):
    """A check failed: the exit status that says which kind, and the problem."""


class Key(NamedTuple):
    """A verifier key: its text, and what that says; a witness's is of kind 4."""

    text: str
    name: str
    key_id: bytes
    public: Ed25519PublicKey
    kind: int


class Export:
    """An export that is being checked: its tree, and what its records tell."""

    def __init__(self, folder: Path, key: Key) -> None:
        self.folder, self.key, self.chain = folder, key, [(key, (0, b"", ""))]
        self.size, self.misplaced, self.stack = 0, "", list[bytes]()
        self.times, self.gaps, self.named = list[str](), list[str](), dict[int, str]()
        self.roots, self.dates = dict[int, bytes](), dict[int, str]()
        self.events, self.edges = Counter[str](), list[tuple[int, int]]()

    def facts(self, held: Held, witnesses: Keys) -> Iterator[str]:
        """Yield what holds, step by step."""
        need(not self.folder.is_file(), UNCHECKED, f"{self.folder} {UNPACK}")
        here = {*FILES} & {path.name for path in self.folder.iterdir()}
        need(here, UNCHECKED, f"{self.folder} is no export: it has no {FILES[0]}")
        # 1. The given key vouches for the next, and so on; the last signed this.
        self.read_chain()
        ends = [head for _, head in self.chain[1:]]
        size, root, _ = self.open_head(self.folder / "checkpoint.txt")
        by = f", by key {len(ends)}, new in record {ends[-1][0] - 1}" if ends else ""
        yield f"the checkpoint over {size} records is signed by {self.key.name}{by}"
        # 2. So is every held head, each by the key of its time.
        heads = [h if isinstance(h, tuple) else self.open_head(h, size) for h in held]
        seen = [h for h in heads if h in held or h[:2] != (size, root)]
        self.gaps += [f"{head[2]}: {OWN}" for head in heads if head not in seen]
        seen += [each for vkey in witnesses for each in self.read_cosigned(vkey)]
        # 3. For each number from 0 there is one canonical record, or just its hash.
        self.read_records({n for n, _, _ in ends + seen}, size)
        yield "the records are numbered without a gap and in canonical form"
        # 4. Together they hash to the signed root.
        fit = [f"first {n} ({by})" for n, old, by in seen if self.roots.get(n) == old]
        at = f"; unchanged: {', '.join(fit) or 'none that is known'}" * bool(seen)
        need(self.root() == root, RECORD, f"records do not hash to the signed root{at}")
        alone = "" if seen else "; compared with nothing older: hold a kept checkpoint"
        yield f"the records hash to the signed root: none moved or changed since{alone}"
        # 5. The first hash to every held head, and to each that ended an epoch.
        for n, old, by in ends + seen:
            need(n <= size, TRUNCATED, f"{by} covers {n} records, this export {size}")
            need(n in self.roots, UNCHECKED, f"to compare {by}, export --since it")
            other = f"{by} covers other records than the first {n} here"
            need(self.roots[n] == old, INCONSISTENT, other)
        named = {end[0]: key.text for key, end in self.chain[1:]}
        need(self.named == named, CHAIN, "records do not name the keys of the chain")
        for n, _, by in seen:
            yield f"the first {n}{self.dates[n]} are those that {by} vouches for"
        newest = max((n for n, _, _ in seen), default=0)
        self.gaps += [f"that records from {newest} on {ADVICE}"] * (newest < size)
        # 6. The manifest is signed, and the files are those it lists.
        self.check_manifest()
        yield "the manifest is signed and every file it lists is unchanged"
        counts = ", ".join(f"{n} {event}" for event, n in sorted(self.events.items()))
        yield from [f"{' to '.join(self.times)}: {counts}"] * bool(counts)

    def read_chain(self) -> None:
        """Add the log's keys, each introduced by a head that the one before signed."""
        for number, line in enumerate(read_lines(self.folder / "epoch-keys.jsonl")):
            where, old = f"line {number + 1} of epoch-keys.jsonl: ", self.chain[-1]
            doubt = "" if number else ", or --key is not this log's first key"
            try:
                entry = parse_canonical(line[:-1], "it")
                text, _ = open_note(entry["note"].encode(), [old[0]], "its note")
                head = parse_head(text, self.key.name, f"the last head of key {number}")
                need(head[0] > old[1][0], CHAIN, "it leads back")
                self.chain.append((parse_key(entry["vkey"], 1, "its vkey"), head))
            except (CheckError, LookupError, TypeError, AttributeError) as error:
                raise CheckError(CHAIN, f"{where}{error.args[-1]}{doubt}") from None

    def open_head(self, path: Path, most: int = 1 << 64) -> Head:
        """Return the checkpoint in ``path``; one held beyond ``most`` is of any key."""
        data = plain(path, MAX_BYTES).read_bytes()
        inside = most < 1 << 64 and self.folder.resolve() in path.resolve().parents
        need(not inside, UNCHECKED, f"{path} is in the export: hold one that you kept")
        text = data.rpartition(b"\n\n")[0].decode("utf-8", "replace") + "\n"
        head = parse_head(text, self.key.name, str(path))
        keys = [key for key, start in self.chain if start[0] < max(head[0], 1)]
        open_note(data, keys if head[0] > most else keys[-1:], str(path))
        return head

    def read_cosigned(self, vkey: str) -> Iterator[Head]:
        """Yield each tree head in cosignatures.txt that this witness signed."""
        key, name, signed = parse_key(vkey, 4, "--witness"), "cosignatures.txt", False
        parts = plain(self.folder / name, MAX_BYTES).read_bytes().split(b"\n\n")
        for text, lines in zip(parts[::2], parts[1::2], strict=False):
            if f"\N{EM DASH} {key.name} ".encode() in lines:
                note, seconds = open_note(text + b"\n\n" + lines + b"\n", [key], name)
                when, signed = datetime.fromtimestamp(seconds, UTC).isoformat(), True
                yield parse_head(note, self.key.name, f"{key.name} at {when}")
        need(signed, SIGNATURE, f"{name} has nothing signed by {key.name}")

    def read_records(self, sizes: set[int], size: int) -> None:
        """Read the records, and the hashes in the place of others; note some roots."""
        lines = read_lines(self.folder / "records.jsonl")
        path = self.folder / "hashes.txt"
        hashes = read_lines(path) if path.exists() else iter(())
        hashed = next(hashes, b"")
        while True:
            if hashed.startswith(b"%d " % self.size):
                self.take_hash(hashed.decode("utf-8", "replace"))
                hashed, date = next(hashes, b""), ""
            elif line := next(lines, b""):
                self.take_record(line[:-1])
                date = f", the last of {self.times[-1]},"
            else:
                break
            if self.size in sizes:
                self.roots[self.size], self.dates[self.size] = self.root(), date
        need(not hashed, GAP, f"record {self.size} is missing")
        count, moved = f"{self.size} records where {size} were signed", self.misplaced
        need(self.size >= size, GAP if moved else TRUNCATED, count + moved)
        need(self.size == size, RECORD, f"{count}: checkpoint.txt is older than they")
        need(not moved, RECORD, f"the records are out of order{moved}")

    def take_hash(self, line: str) -> None:
        """Add the perfect subtree in a line of hashes.txt: place, leaves and root."""
        formed = re.fullmatch(r"[0-9]+ ([1-9][0-9]{0,18}) (\S+)\n", line)
        leaves, root = (int(formed[1]), from_base64(formed[2])) if formed else (3, b"")
        aligned = leaves.bit_count() == 1 and self.size % leaves == 0
        need(len(root) == 32 and aligned, RECORD, f"no hash in place of {self.size}")
        self.edges += [(self.size, 1), (self.size + leaves, -1)]
        self.append(root, leaves)

    def take_record(self, data: bytes) -> None:
        """Check one record's form and place, and count it."""
        where = f"line {self.events.total() + 1} of records.jsonl"
        record = parse_canonical(data, where)
        ours = (record.get("v"), record.get("log")) == (1, self.key.name)
        need(ours, RECORD, f"{where} is not a record of {self.key.name}")
        if record.get("seq") != str(self.size) and not self.misplaced:
            self.misplaced = f": {where} is record {record.get('seq')}, not {self.size}"
        self.events[str(record.get("event"))] += 1
        self.times = [*self.times[:1], str(record.get("ts"))]
        if (record.get("event"), record.get("kind")) == ("log.pruned", "record"):
            for first, last in re.findall(RANGE, str(record.get("ranges"))):
                self.edges += [(int(first), 2), (min(int(last) + 1, self.size), -2)]
        self.append(sha256(b"\x00" + data).digest())
        if record.get("event") == "key.rotate":
            self.named[self.size] = str(record.get("vkey"))

    def append(self, subtree: bytes, leaves: int = 1) -> None:
        """Grow the tree by a perfect subtree; keep one root per bit of its size."""
        self.size += leaves
        while not self.size & leaves:
            subtree = sha256(b"\x01" + self.stack.pop() + subtree).digest()
            leaves *= 2
        self.stack.append(subtree)

    def root(self) -> bytes:
        """Return the tree head."""
        *rest, result = self.stack or [sha256(b"").digest()]
        for subtree in reversed(rest):
            result = sha256(b"\x01" + subtree + result).digest()
        return result

    def check_manifest(self) -> None:
        """Check the manifest, which the newest key signed, and every file it lists."""
        data, note = (plain(self.folder / n, MAX_BYTES).read_bytes() for n in FILES[4:])
        text = f"{TITLE}\n{self.key.name}\n{sha256(data).hexdigest()}\n"
        same = open_note(note, [self.chain[-1][0]], "manifest.note")[0] == text
        need(same, RECORD, "manifest.json is not the one that was signed")
        manifest = parse_canonical(data, "manifest.json")
        stated = [manifest.get(name) for name in ("v", "origin", "vkey", "size")]
        same, whole = stated == [1, self.key.name, self.key.text, str(self.size)], False
        with suppress(LookupError, TypeError):
            listed = manifest["files"]
            files = {f["path"]: (f["sha256"], f["size_bytes"]) for f in listed}
            made = sorted(f["path"] for f in listed if "derived_from" in f)
            whole = len(files) == len(listed) and files.keys() - made >= {*LISTED}
            whole = whole and all(map(PATH.fullmatch, files))
        need(same and whole, RECORD, "manifest.json is of another export")
        for name, said in files.items():
            with plain(self.folder / name).open("rb") as file:
                actual = (file_digest(file, "sha256").hexdigest(), str(file.tell()))
            need(said == actual, RECORD, f"{name} is not what manifest.json says")
        gone, depth, last, only = 0, 0, 0, manifest.get("only")
        for place, step in sorted(self.edges):
            gone += (place - last) * (depth == 3)  # 1: a hash, 2: named as pruned
            depth, last = depth + step, place
        out = self.size - self.events.total() - gone
        need(only or not out, GAP, f"{out} records are left out, and not as pruned")
        self.gaps += [f"what {out} records say: here is {only}"] * bool(out)
        self.gaps += [f"what {gone} records said that were pruned"] * bool(gone)
        self.gaps += ["bodies.jsonl: run verify_bodies.py"] * ("bodies.jsonl" in files)
        more = {str(p.relative_to(self.folder)) for p in self.folder.rglob("*")}
        more -= {*FILES, *files, *(name.rpartition("/")[0] for name in files)}
        self.gaps += [f"{each}: covered by no signature" for each in sorted(more)]
        self.gaps += [f"{', '.join(made)}: made for convenience, no proof"] * bool(made)


def verify(folder: Path, *, key: str, held: Held = (), witnesses: Keys = ()) -> Verdict:
    """Return the verdict on an export, given its log's key and what else is held."""
    proved: list[str] = []
    try:
        found = Export(folder, parse_key(key))
        proved.extend(map(shown, found.facts(held, witnesses)))
    except CheckError as error:
        return Verdict(error.args[0], shown(error.args[1]), tuple(proved))
    except OSError as error:
        return Verdict(UNCHECKED, f"{error.filename}: {error.strerror}", tuple(proved))
    gaps, here = NOT_PROVED + tuple(map(shown, found.gaps)), sum(found.events.values())
    return Verdict(OK, "", tuple(proved), gaps, found.key.name, found.size, here)


def need(holds: object, status: int, problem: str) -> None:
    """Raise unless ``holds``."""
    if not holds:
        raise CheckError(status, problem)


def parse_key(text: str, kind: int = 1, option: str = "--key") -> Key:
    """Return the key that ``text`` spells, after checking its own id."""
    name, key_id, body = (*text.split("+", 2), "", "")[:3]
    raw = from_base64(body)
    digest = sha256(f"{name}\n".encode("utf-8", "replace") + raw).digest()[:4]
    whole = len(raw) == 33 and raw[0] == kind and digest.hex() == key_id
    need(whole, UNCHECKED, f"{option} is no whole key: give its text NAME+ID+BASE64")
    return Key(text, name, digest, Ed25519PublicKey.from_public_bytes(raw[1:]), kind)


def open_note(data: bytes, keys: Sequence[Key], name: str) -> tuple[str, int]:
    """Return the text of a C2SP note that a key signed, and a cosignature's time."""
    text, gap, block = data.rpartition(b"\n\n")
    lines, signed, seconds = block.decode("utf-8", "replace").split("\n"), False, 0
    need(gap and not lines.pop(), SIGNATURE, f"{name}, as bytes, is no signed note")
    for line in lines:
        formed = re.fullmatch("\N{EM DASH} ([^ ]+) ([^ ]+)", line)
        signer, raw = (formed[1], from_base64(formed[2])) if formed else ("", b"")
        need(raw, SIGNATURE, f"{name} has a line that is no signature")
        for key in [k for k in keys if (k.name, k.key_id) == (signer, raw[:4])]:
            signature, message, signed = raw[4:], text + b"\n", True
            if key.kind == 4:
                seconds, signature = int.from_bytes(raw[4:12]), raw[12:]
                message = b"cosignature/v1\ntime %d\n" % seconds + message
            try:
                key.public.verify(signature, message)
            except InvalidSignature:
                raise CheckError(SIGNATURE, f"{name}: wrong signature") from None
    need(signed, SIGNATURE, f"{name} is not signed by a key known for {keys[0].name}")
    return text.decode("utf-8", "replace") + "\n", min(seconds, 1 << 37)


def parse_head(text: str, origin: str, source: str) -> Head:
    """Return the tree head that the text of a checkpoint of ``origin`` spells."""
    formed = re.fullmatch("(.+)\n([0-9]{1,19})\n(.+)\n", text)
    root = from_base64(formed[3]) if formed and formed[1] == origin else b""
    need(
        len(root) == 32, SIGNATURE, f"{source}, as bytes, is no checkpoint of {origin}"
    )
    return int(formed[2]) if formed else 0, root, source


def parse_canonical(data: bytes, where: str) -> dict[str, Any]:
    """Return the object in ``data`` if these are its RFC 8785 bytes, without floats."""
    with suppress(ValueError, RecursionError):
        value = json.loads(data, parse_float=int, parse_constant=int)
        same = json.dumps(value, sort_keys=True, separators=SHORT, ensure_ascii=False)
        if isinstance(value, dict) and same.encode() == data:
            return value
    raise CheckError(RECORD, f"{where} is not a record in canonical form")


def from_base64(text: str) -> bytes:
    """Return the bytes whose one base64 spelling is ``text``, or none at all."""
    with suppress(ValueError):
        raw = base64.b64decode(text, validate=True)
        return raw if base64.b64encode(raw).decode() == text else b""
    return b""


def shown(text: str) -> str:
    """Return ``text`` so that what came from an export cannot drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def plain(path: Path, most: int = 1 << 63) -> Path:
    """Return ``path`` if it is a plain file, not too long: nothing that blocks."""
    found = path.is_file() and not path.is_symlink() and path.stat().st_size <= most
    need(found, UNCHECKED, f"{path} is missing, too long or not a plain file")
    return path


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end."""
    with plain(path).open("rb") as file:
        while line := file.readline(MAX_BYTES + 1):
            need(line[-1:] == b"\n", TRUNCATED, f"{path.name} ends inside a line")
            yield line


def main(arguments: list[str]) -> int:
    """Print the verdict and return the exit status."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="the unpacked export")
    add("--key", required=True, metavar="VKEY", help="the log's first key, as text")
    add("--held", type=Path, action="append", default=[], help="a checkpoint you kept")
    add("--witness", action="append", default=[], help="a cosigner's key, as text")
    try:
        got = parser.parse_args(arguments)
    except SystemExit as stop:
        return UNCHECKED if stop.code else OK  # argparse says 2, which is taken here
    verdict = verify(got.folder, key=got.key, held=got.held, witnesses=got.witness)
    sys.stdout.write(verdict.text())
    return verdict.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
