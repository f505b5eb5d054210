"""A second verifier of exports, written from the ledger's FORMAT.md and nothing else.

It shares no code with the ledger, answers with the statuses of that page, and says
nothing more. A test lets it and ``verify.py`` judge the same exports: where the two
differ, the page or one of them is wrong.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MOST: Final = 1 << 20
TITLE: Final = "sallyport export manifest v1"
REQUIRED: Final = {"checkpoint.txt", "epoch-keys.jsonl", "records.jsonl", "verify.py"}

Head = tuple[int, bytes]
Key = tuple[str, bytes, bytes]
"""Name, ID, and kind with the public key."""


class WrongError(Exception):
    """A check failed; its argument is the status."""


def check(
    folder: Path,
    vkey: str,
    *,
    held: Sequence[Path] = (),
    receipt: str | None = None,
    witness: str | None = None,
) -> int:
    """Return the status of FORMAT.md for an export."""
    try:
        told = [] if receipt is None else [head_of(receipt)]
        _steps(folder, verifier_key(vkey, 1), held, told, witness)
    except WrongError as wrong:
        return int(wrong.args[0])
    return 0


def _steps(
    folder: Path,
    first: Key,
    held: Sequence[Path],
    told: Sequence[Head],
    witness: str | None,
) -> None:
    name = first[0]
    # 1.
    chain: list[tuple[Key, int, bytes]] = [(first, 0, b"")]
    for line in lines(folder / "epoch-keys.jsonl"):
        try:
            chain.append(_link(line, chain[-1]))
        except (WrongError, LookupError, TypeError, AttributeError, ValueError):
            raise WrongError(7) from None
    data = whole(folder / "checkpoint.txt")
    size, root = checkpoint(data, name)
    opened(data, key_for(chain, size), 3)
    # 2.
    heads = [(n, end) for _, n, end in chain[1:]]
    for path in held:
        data = whole(path)
        head = checkpoint(data, name)
        expect(folder.resolve() not in path.resolve().parents, 1)
        if head[0] <= size:
            opened(data, key_for(chain, head[0]), 3)
        else:
            opened_by_any(data, [key for key, _, _ in chain], 3)
        heads.append(head)
    heads += told
    if witness is not None:
        heads += cosigned(whole(folder / "cosignatures.txt"), witness, name)
    # 3.
    nodes, rotations, hidden = read_nodes(folder, name, size)
    # 4.
    expect(root_over(nodes, size) == root, 2)
    # 5.
    for count, end in heads:
        expect(count <= size, 4)
        found = root_over(nodes, count)
        expect(found is not None, 1)
        expect(found == end, 5)
    expect(rotations == {n: text(key) for key, n, _ in chain[1:]}, 7)
    # 6.
    check_manifest(folder, chain[-1][0], first, size=size, hidden=hidden)


def _link(line: bytes, before: tuple[Key, int, bytes]) -> tuple[Key, int, bytes]:
    entry = canonical(line, 7)
    note = entry["note"].encode()
    opened(note, before[0], 7)
    size, root = checkpoint(note, before[0][0])
    expect(size > before[1], 7)
    return verifier_key(entry["vkey"], 1), size, root


def key_for(chain: list[tuple[Key, int, bytes]], size: int) -> Key:
    """The newest key whose note is over fewer records than that."""
    return [key for key, n, _ in chain if n < size or n == 0][-1]


def read_nodes(
    folder: Path, name: str, size: int
) -> tuple[list[tuple[int, int, bytes]], dict[int, str], int]:
    """Every record and hash as place, leaves and hash; and the keys that are named."""
    hashes: list[bytes] = []
    if (folder / "hashes.txt").exists():
        hashes = list(lines(folder / "hashes.txt"))
    nodes: list[tuple[int, int, bytes]] = []
    unnamed: set[int] = set()
    rotations: dict[int, str] = {}
    place, misplaced = 0, False
    records = iter(lines(folder / "records.jsonl"))
    while True:
        if hashes and hashes[0].startswith(f"{place} ".encode()):
            leaves, node = subtree(hashes.pop(0), place)
            unnamed.update(range(place, place + leaves))
        else:
            line = next(records, None)
            if line is None:
                break
            record = canonical(line, 2)
            expect(type(record.get("v")) is int and record["v"] == 1, 2)
            expect(record.get("log") == name, 2)
            misplaced |= record.get("seq") != str(place)
            leaves, node = 1, hashlib.sha256(b"\x00" + line).digest()
            if record.get("event") == "key.rotate":
                rotations[place + 1] = str(record.get("vkey"))
            if (record.get("event"), record.get("kind")) == ("log.pruned", "record"):
                unnamed -= pruned_by(record, unnamed)
        nodes.append((place, leaves, node))
        place += leaves
    expect(not hashes, 6)
    expect(place >= size, 6 if misplaced else 4)
    expect(place == size and not misplaced, 2)
    return nodes, rotations, len(unnamed)


def pruned_by(record: dict[str, Any], hidden: set[int]) -> set[int]:
    """Which of the records before it a log.pruned names."""
    ranges = record.get("ranges")
    found = (
        re.fullmatch("([0-9]{1,19})-([0-9]{1,19})", each)
        for each in (ranges if isinstance(ranges, list) else ())
        if isinstance(each, str)
    )
    spans = [(int(each[1]), int(each[2])) for each in found if each]
    return {n for n in hidden if any(first <= n <= last for first, last in spans)}


def subtree(line: bytes, place: int) -> tuple[int, bytes]:
    """A line of hashes.txt, PLACE LEAVES HASH, without its end."""
    found = re.fullmatch(rb"(\d+) ([1-9]\d{0,18}) ([^ ]+)", line)
    expect(found is not None, 2)
    assert found is not None
    leaves, node = int(found[2]), base64_bytes(found[3].decode("latin-1"), 2)
    expect(leaves & (leaves - 1) == 0 and place % leaves == 0 and len(node) == 32, 2)
    return leaves, node


def root_over(nodes: list[tuple[int, int, bytes]], size: int) -> bytes | None:
    """The root over the first records, by the definition; None inside a subtree."""
    inside = [node for node in nodes if node[0] < size]
    if sum(leaves for _, leaves, _ in inside) != size:
        return None
    if not inside:
        return hashlib.sha256(b"").digest()
    return _root(inside, 0, size)


def _root(nodes: list[tuple[int, int, bytes]], begin: int, end: int) -> bytes:
    if len(nodes) == 1:
        return nodes[0][2]
    half = 1
    while half * 2 < end - begin:
        half *= 2
    left = [node for node in nodes if node[0] < begin + half]
    right = [node for node in nodes if node[0] >= begin + half]
    below = _root(left, begin, begin + half) + _root(right, begin + half, end)
    return hashlib.sha256(b"\x01" + below).digest()


def check_manifest(
    folder: Path, newest: Key, first: Key, *, size: int, hidden: int
) -> None:
    """Step 6."""
    data, note = whole(folder / "manifest.json"), whole(folder / "manifest.note")
    said = opened(note, newest, 3)
    digest = hashlib.sha256(data).hexdigest()
    expect(said == f"{TITLE}\n{newest[0]}\n{digest}\n".encode(), 2)
    manifest = canonical(data, 2)
    stated = [manifest.get(field) for field in ("v", "origin", "vkey", "size")]
    expect(stated == [1, first[0], text(first), str(size)], 2)
    files: list[dict[str, str]] = manifest.get("files", [])
    expect(isinstance(files, list), 2)
    paths = [entry["path"] for entry in files]
    expect(len(paths) == len(set(paths)), 2)
    evidence = {entry["path"] for entry in files if "derived_from" not in entry}
    expect(evidence >= REQUIRED, 2)
    form = re.compile(r"(consistency/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
    expect(all(form.fullmatch(path) for path in paths), 2)
    for entry in files:
        content = plain(folder / entry["path"]).read_bytes()
        same = hashlib.sha256(content).hexdigest() == entry["sha256"]
        expect(same and str(len(content)) == entry["size_bytes"], 2)
    expect(not hidden or manifest.get("only"), 6)


def cosigned(data: bytes, witness: str, name: str) -> list[Head]:
    """The heads of cosignatures.txt that a witness signed."""
    key = verifier_key(witness, 4)
    heads = []
    for note in re.findall(rb"(.+?\n\n(?:[^\n]+\n)+)\n", data, re.DOTALL):
        if f"\N{EM DASH} {key[0]} ".encode() in note:
            opened(note, key, 3)
            heads.append(checkpoint(note, name))
    expect(heads, 3)
    return heads


def head_of(receipt: str) -> Head:
    """The head that a caller was told: SIZE.ROOT.SEQ."""
    size, root, _ = receipt.split(".")
    return int(size), base64.urlsafe_b64decode(f"{root}=")


def verifier_key(spelt: str, kind: int) -> Key:
    """NAME+ID+KEY, after checking the ID."""
    name, _, rest = spelt.partition("+")
    stated, _, body = rest.partition("+")
    raw = base64_bytes(body, 1)
    named = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    expect(len(raw) == 33 and raw[0] == kind and named.hex() == stated, 1)
    return name, named, raw


def text(key: Key) -> str:
    """The verifier key as text."""
    return f"{key[0]}+{key[1].hex()}+{base64.b64encode(key[2]).decode()}"


def opened(note: bytes, key: Key, status: int) -> bytes:
    """The text of a signed note, after verifying the key's signature."""
    body, gap, block = note.rpartition(b"\n\n")
    expect(gap and block.endswith(b"\n"), status)
    said, signed = body + b"\n", False
    for line in block[:-1].decode("utf-8", "replace").split("\n"):
        parts = line.split(" ")
        expect(len(parts) == 3 and parts[0] == "\N{EM DASH}" and parts[1], status)
        raw = base64_bytes(parts[2], status)
        expect(raw, status)
        if (parts[1], raw[:4]) == (key[0], key[1]):
            _check_signature(key, raw[4:], said, status)
            signed = True
    expect(signed, status)
    return said


def opened_by_any(note: bytes, keys: Sequence[Key], status: int) -> None:
    """A note that one of the keys signed, and no line of which is a wrong one."""
    names = {(key[0], key[1]) for key in keys}
    lines = note.decode("utf-8", "replace").split("\n")
    formed = [re.fullmatch("\N{EM DASH} ([^ ]+) ([^ ]+)", line) for line in lines]
    signers = [(f[1], base64_bytes(f[2], status)[:4]) for f in formed if f]
    expect(names & {*signers}, status)
    for key in keys:
        if (key[0], key[1]) in signers:
            opened(note, key, status)


def _check_signature(key: Key, signature: bytes, said: bytes, status: int) -> None:
    if key[2][0] == 4:
        seconds, signature = int.from_bytes(signature[:8]), signature[8:]
        said = f"cosignature/v1\ntime {seconds}\n".encode() + said
    try:
        Ed25519PublicKey.from_public_bytes(key[2][1:]).verify(signature, said)
    except InvalidSignature:
        raise WrongError(status) from None


def checkpoint(note: bytes, name: str) -> Head:
    """Size and root of a checkpoint, whoever signed it."""
    head = note.rpartition(b"\n\n")[0].decode("utf-8", "replace").split("\n")
    expect(len(head) == 3 and head[0] == name, 3)
    expect(re.fullmatch("[0-9]{1,19}", head[1]), 3)
    root = base64_bytes(head[2], 3)
    expect(len(root) == 32, 3)
    return int(head[1]), root


def canonical(data: bytes, status: int) -> dict[str, Any]:
    """The object whose RFC 8785 bytes these are."""
    try:
        value = json.loads(data)
        same = isinstance(value, dict) and rfc8785.dumps(value) == data
    except (ValueError, RecursionError, rfc8785.CanonicalizationError):
        same = False
    expect(same, status)
    return dict(value)


def base64_bytes(spelt: str, status: int) -> bytes:
    """What a base64 text in its one spelling stands for."""
    try:
        raw = base64.b64decode(spelt, validate=True)
    except (binascii.Error, ValueError):
        raise WrongError(status) from None
    expect(base64.b64encode(raw).decode() == spelt, status)
    return raw


def plain(path: Path) -> Path:
    """A file that is neither missing nor a link."""
    expect(path.is_file() and not path.is_symlink(), 1)
    return path


def whole(path: Path) -> bytes:
    """A small file."""
    data = plain(path).read_bytes()
    expect(len(data) <= MOST, 1)
    return data


def lines(path: Path) -> list[bytes]:
    """The lines of a file without their ends."""
    data = plain(path).read_bytes()
    expect(not data or data.endswith(b"\n"), 4)
    return data.split(b"\n")[:-1]


def expect(holds: object, status: int) -> None:
    """Raise unless ``holds``."""
    if not holds:
        raise WrongError(status)
