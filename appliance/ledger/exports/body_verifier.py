"""Checks the prompts and answers of an export against the records that commit to them.

    python -I verify_bodies.py FOLDER [--extract NEW_FOLDER]

FOLDER is an export of the level "full" that verify.py has verified: this program
takes its records as proven, and shows that each line of bodies.jsonl is the very text
that its record committed to when the call was made. --extract writes each to a file
of its own, named by the record's number. It needs Python 3.11 and nothing else. Take
it from a place you trust: FOLDER's copy came with the evidence.

    exit 0  every body is what its record commits to
         1  it could not be checked: a file is missing or the command is wrong
         2  a body is not what its record commits to, or of no record

A commitment is SHA-256 over "sallyport/body/v1", a zero byte, 32 bytes of salt and
the text.
"""

import base64
import json
import sys
from argparse import ArgumentParser, RawTextHelpFormatter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

OK, UNCHECKED, DIFFERS = range(3)
CONTEXT = b"sallyport/body/v1\0"
SALT_BYTES = 32
UNPACK = "is a file: unpack it (open_export.py, tar -xf), then check the folder"
BODIES, RECORDS = "bodies.jsonl", "records.jsonl"
PARTS = {"llm.request": "request", "llm.response": "response"}
MAX_RECORD_BYTES, MAX_BODY_BYTES = 1 << 20, 1 << 28
"""Longest line of the two files that is read. Unit: bytes."""


class CheckError(Exception):
    """A check failed: the exit status that says which kind, and the problem."""


class Body(NamedTuple):
    """A line of bodies.jsonl: the record it belongs to, and what it says."""

    where: str
    seq: int
    part: str
    salt: bytes
    text: bytes


def check(folder: Path, extract: Path | None = None) -> str:
    """Return what holds, in sentences, after checking every body of ``folder``."""
    need(not folder.is_file(), UNCHECKED, f"{folder} {UNPACK}")
    bodies = read_bodies(folder / BODIES)
    body, count, size_bytes, absent = next(bodies, None), 0, 0, 0
    for seq, part, commitment in read_commitments(folder / RECORDS):
        if body is None or body.seq != seq:
            absent += 1
            continue
        found = sha256(CONTEXT + body.salt + body.text).hexdigest()
        same = (body.part, found, len(body.salt)) == (part, commitment, SALT_BYTES)
        need(same, DIFFERS, f"{body.where} is not what record {seq} commits to")
        if extract is not None:
            with (extract / f"{seq}.{part}").open("xb") as file:
                file.write(body.text)
        count, size_bytes = count + 1, size_bytes + len(body.text)
        body = next(bodies, None)
    if body is not None:
        raise CheckError(DIFFERS, f"{body.where} is of no record, or out of order")
    return (
        f"  holds: {count} bodies of {size_bytes} bytes are what their records commit "
        f"to\n  not here: the bodies that {absent} more records commit to\n"
        "  not proved: the records themselves; verify.py does that\n"
    )


def read_commitments(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield number, part and commitment of each record that commits to a body."""
    for line in read_lines(path, MAX_RECORD_BYTES):
        record = parse_object(line, path.name)
        body, seq = record.get("body"), str(record.get("seq"))
        part = PARTS.get(str(record.get("event")))
        if part and isinstance(body, dict) and "commitment" in body and is_number(seq):
            yield int(seq), part, str(body["commitment"])


def read_bodies(path: Path) -> Iterator[Body]:
    """Yield the bodies that came along, one at a time."""
    for number, line in enumerate(read_lines(path, MAX_BODY_BYTES), 1):
        where = f"line {number} of {path.name}"
        said = parse_object(line, where)
        seq = str(said.get("seq"))
        formed = said.keys() == {"seq", "part", "salt", "body"} and is_number(seq)
        need(formed, DIFFERS, f"{where} is no body")
        salt, text = (from_base64(said[name], where) for name in ("salt", "body"))
        yield Body(where, int(seq), str(said["part"]), salt, text)


def is_number(text: str) -> bool:
    """Return whether ``text`` is the number of a record."""
    return text.isdecimal() and text.isascii() and len(text) < 20


def parse_object(line: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that ``line`` is."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    need(isinstance(value, dict), DIFFERS, f"{where} holds a line that is no object")
    return dict(value)


def from_base64(text: object, where: str) -> bytes:
    """Return the bytes whose one base64 spelling is ``text``."""
    try:
        raw = base64.b64decode(str(text), validate=True)
    except ValueError:
        raw = b""
    same = base64.b64encode(raw).decode() == text
    need(same, DIFFERS, f"{where} is not base64 in its one spelling")
    return raw


def read_lines(path: Path, most: int) -> Iterator[bytes]:
    """Yield the lines of a plain file, none longer than ``most``."""
    plain = path.is_file() and not path.is_symlink()
    need(plain, UNCHECKED, f"{path} is missing or not a plain file")
    with path.open("rb") as file:
        while line := file.readline(most + 1):
            need(line[-1:] == b"\n", DIFFERS, f"{path.name} ends inside a line")
            yield line[:-1]


def need(holds: object, status: int, problem: str) -> None:
    """Raise unless ``holds``."""
    if not holds:
        raise CheckError(status, problem)


def main(arguments: list[str]) -> int:
    """Print what holds and return the exit status."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="the unpacked export")
    told = "a new folder, for each text a file of its own"
    parser.add_argument("--extract", type=Path, metavar="NEW_FOLDER", help=told)
    try:
        got = parser.parse_args(arguments)
    except SystemExit as stop:
        return UNCHECKED if stop.code else OK  # argparse says 2, which is taken here
    try:
        said, status = check(got.folder), OK
        if got.extract is not None:
            got.extract.mkdir(mode=0o700)
            check(got.folder, got.extract)
    except CheckError as error:
        status, problem = error.args
        said = f"FAILED ({status}): {ascii(problem)[1:-1]}\n"
    except OSError as error:
        status, said = UNCHECKED, f"FAILED (1): {error.filename}: {error.strerror}\n"
    sys.stdout.write(said)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
