"""Opens an export of a Sallyport ledger that was encrypted for one auditor.

    python -I open_export.py keygen KEY > KEY.pub      once; KEY.pub goes to the host
    python -I open_export.py open FILE --key KEY --out EXPORT.tar

KEY is a new file that never leaves the auditor's machine; KEY.pub is what the host
is given as `audit export --recipient`. FILE is an age file for one recipient of the
kind mlkem768x25519, so `age -d -i KEY` of age 1.3 opens it as well. EXPORT.tar appears
whole, or not at all; unpack it and run verify.py on what it holds.

This one file needs Python 3.11 and the package "cryptography" from version 47 on.
Take it from a place you trust: who makes your key for you can read what you read.

    exit 0  done
         1  it could not be tried: a file is missing or in the way, or KEY is no key
         2  FILE is not what was encrypted: changed, out of order, or longer
         3  FILE was encrypted for another key
         4  truncated: the end of FILE is not there

Specification: C2SP age (age-encryption.org/v1); RFC 9180 (HPKE); BIP 173 (Bech32).
"""

import base64
import hmac
import os
import secrets
import sys
from argparse import ArgumentParser, RawTextHelpFormatter
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256, shake_256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

OK, UNTRIED, CHANGED, OTHER_KEY, TRUNCATED = range(5)
VERSION, KIND, NAMES_KEY = "age-encryption.org/v1", "mlkem768x25519", "sallyport/key-id"
SECRET, PUBLIC = "age-secret-key-pq-", "age1pq"
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
INFO = b"age-encryption.org/mlkem768x25519"
CHUNK_BYTES, TAG_BYTES, NONCE_BYTES, FILE_KEY_BYTES = 64 * 1024, 16, 16, 16
ENC_BYTES, BODY_BYTES, SEED_BYTES, PUBLIC_BYTES = 1120, 32, 32, 1216
MAX_HEADER_BYTES = 16 * 1024
"""Longest header, and longest key file, that is read. Unit: bytes."""


class OpenError(Exception):
    """It failed: the exit status that says how, and the problem."""


class Header(NamedTuple):
    """The start of an age file: its stanzas, what its MAC covers, and the MAC."""

    stanzas: list[tuple[list[str], bytes]]
    covered: bytes
    mac: bytes


def create_key(path: Path) -> str:
    """Write a new private key to the new file ``path``; return its public part."""
    seed = secrets.token_bytes(SEED_BYTES)
    public = public_bytes(seed)
    recipient = bech32(PUBLIC, public)
    text = f"# auditor's key {key_id(public)}\n# public key: {recipient}\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        number = os.open(path, flags, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(f"{text}{bech32(SECRET, seed).upper()}\n")
    except OSError as error:
        raise OpenError(UNTRIED, f"{path}: {error.strerror}") from None
    return recipient


def read_seed(path: Path) -> bytes:
    """Return the secret in a key file."""
    try:
        with path.open("rb") as file:
            lines = keys_in(file.read(MAX_HEADER_BYTES))
    except OSError as error:
        raise OpenError(UNTRIED, f"{path}: {error.strerror}") from None
    seed = from_bech32(SECRET, lines[0].lower()) if len(lines) == 1 else b""
    need(len(seed) == SEED_BYTES, UNTRIED, f"{path} holds no key of an auditor")
    return seed


def open_sealed(path: Path, seed: bytes, out: Path) -> None:
    """Decrypt the file ``path`` into the new file ``out``, whole or not at all."""
    need(not os.path.lexists(out), UNTRIED, f"{out} is there already")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    try:
        with path.open("rb") as file, partial.open("xb") as sink:
            aead = ChaCha20Poly1305(payload_key(file, seed))
            decrypt(file, aead, sink.write)
            sink.flush()
            os.fsync(sink.fileno())
        partial.rename(out)
    except OSError as error:
        raise OpenError(UNTRIED, f"{error.filename}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def payload_key(file: BinaryIO, seed: bytes) -> bytes:
    """Return the key of what follows, after reading and checking the header."""
    header, ours = read_header(file), key_id(public_bytes(seed))
    named = [words[1] for words, _ in header.stanzas if words[:-1] == [NAMES_KEY]]
    wrapped = [(w, body) for w, body in header.stanzas if w[0] == KIND]
    need(
        len(wrapped) == 1, CHANGED, "it has no place, or several, for an auditor's key"
    )
    (_, *arguments), body = wrapped[0]
    enc = from_base64(arguments[0]) if len(arguments) == 1 else b""
    need((len(enc), len(body)) == (ENC_BYTES, BODY_BYTES), CHANGED, "its key is cut")
    extended = shake_256(seed).digest(96)
    try:
        file_key = SUITE.decrypt(enc + body, private_key(extended), info=INFO)
    except (InvalidTag, ValueError):
        need(named != [ours], CHANGED, "the key in its header was changed")
        whose = f"for key {named[0]}" if named else "for another key"
        raise OpenError(OTHER_KEY, f"it is {whose}; this key is {ours}") from None
    mac = hmac.digest(derived(file_key, b"", b"header"), header.covered, "sha256")
    need(hmac.compare_digest(mac, header.mac), CHANGED, "its header was changed")
    nonce = file.read(NONCE_BYTES)
    need(len(nonce) == NONCE_BYTES, TRUNCATED, "it ends with its header")
    return derived(file_key, nonce, b"payload")


def read_header(file: BinaryIO) -> Header:
    """Return the header of an age file, whose length is bounded."""
    read = bytearray()

    def line() -> str:
        data = file.readline(MAX_HEADER_BYTES - len(read) + 1)
        read.extend(data)
        known = data.isascii() and len(read) <= MAX_HEADER_BYTES
        need(known, CHANGED, "it is no age file")
        need(data[-1:] == b"\n", TRUNCATED, "it ends within its header")
        return data[:-1].decode("ascii")

    need(line() == VERSION, CHANGED, "it is no age file")
    stanzas = list[tuple[list[str], bytes]]()
    while (text := line()).startswith("-> "):
        body = ""
        while len(part := line()) == 64:
            body += part
        raw = from_base64(body + part)
        need(raw or not body + part, CHANGED, "its header was changed")
        stanzas.append((text[3:].split(" "), raw))
    mark, _, mac = text.partition(" ")
    need(mark == "---", CHANGED, "its header was changed")
    return Header(stanzas, bytes(read[: read.rindex(b"---") + 3]), from_base64(mac))


def decrypt(
    file: BinaryIO, aead: ChaCha20Poly1305, write: Callable[[bytes], object]
) -> None:
    """Write the plaintext of a STREAM, chunk by chunk; each is checked before."""
    number, chunk = 0, file.read(CHUNK_BYTES + TAG_BYTES)
    while True:
        following = file.read(CHUNK_BYTES + TAG_BYTES)
        after = f"after {number * CHUNK_BYTES} bytes"
        need(len(chunk) >= TAG_BYTES, TRUNCATED, f"its end is missing {after}")
        plain = open_chunk(aead, chunk, number, last=not following)
        if plain is None:
            misplaced = open_chunk(aead, chunk, number, last=bool(following))
            if misplaced is None:
                raise OpenError(CHANGED, f"it was changed, or cut off, {after}")
            need(following, TRUNCATED, f"its end is missing {after}")
            raise OpenError(CHANGED, f"it has more than its end {after}")
        need(plain or number == 0, CHANGED, "it ends with an empty part")
        write(plain)
        if not following:
            return
        number, chunk = number + 1, following


def open_chunk(
    aead: ChaCha20Poly1305, chunk: bytes, number: int, *, last: bool
) -> bytes | None:
    """Return what a chunk says in its place, or nothing if it does not belong there."""
    try:
        return aead.decrypt(chunk_nonce(number, last=last), chunk, None)
    except (InvalidTag, ValueError):
        return None


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """Return the nonce of a chunk: its place, and whether it is the last."""
    return number.to_bytes(11) + bytes([last])


def private_key(extended: bytes) -> MLKEM768X25519PrivateKey:
    """Return the pair that 96 bytes make. Source: X-Wing, expandDecapsulationKey."""
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(extended[:64]),
        X25519PrivateKey.from_private_bytes(extended[64:]),
    )


def public_bytes(seed: bytes) -> bytes:
    """Return the public key of a secret, as a recipient line carries it."""
    extended = shake_256(seed).digest(96)
    lattice = MLKEM768PrivateKey.from_seed_bytes(extended[:64]).public_key()
    curve = X25519PrivateKey.from_private_bytes(extended[64:]).public_key()
    return lattice.public_bytes_raw() + curve.public_bytes_raw()


def key_id(public: bytes) -> str:
    """Return the name by which an encrypted export says for whom it is."""
    return sha256(public).hexdigest()[:16]


def derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    """Return a key that HKDF-SHA-256 makes of another."""
    return HKDF(hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def keys_in(data: bytes) -> list[str]:
    """Return the lines of a key file that are no comments."""
    lines = data.decode("ascii", "replace").split("\n")
    return [line.strip() for line in lines if line.strip() and line[0] != "#"]


ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32(kind: str, data: bytes) -> str:
    """Return ``data`` as age writes keys: Bech32 without a limit to its length."""
    digits = regroup(data, 8, 5)
    sum_ = polymod([*spread(kind), *digits, *[0] * 6]) ^ 1
    digits += [sum_ >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{kind}1{''.join(ALPHABET[digit] for digit in digits)}"


def from_bech32(kind: str, text: str) -> bytes:
    """Return what ``text`` of this kind spells, or nothing."""
    start, _, rest = text.rpartition("1")
    digits = [ALPHABET.find(char) for char in rest]
    if start != kind or -1 in digits or polymod([*spread(kind), *digits]) != 1:
        return b""
    data = bytes(regroup(digits[:-6], 5, 8))
    data = data[: len(digits[:-6]) * 5 // 8]
    return data if bech32(kind, data) == text else b""


def spread(kind: str) -> list[int]:
    """Return what a checksum covers of the part before the last 1."""
    return [*(ord(c) >> 5 for c in kind), 0, *(ord(c) & 31 for c in kind)]


def polymod(digits: Iterable[int]) -> int:
    """Return the checksum of ``digits``. Source: BIP 173, "Checksum"."""
    found = 1
    for digit in digits:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ digit
        for place, generator in enumerate(GENERATORS):
            found ^= generator if top >> place & 1 else 0
    return found


def regroup(digits: Iterable[int], size: int, other: int) -> list[int]:
    """Return digits of ``size`` bits as such of ``other`` bits, the last filled up."""
    held = count = 0
    made = list[int]()
    for digit in digits:
        held, count = held << size | digit, count + size
        while count >= other:
            count -= other
            made.append(held >> count & (1 << other) - 1)
            held &= (1 << count) - 1
    return [*made, held << other - count & (1 << other) - 1] if count else made


def from_base64(text: str) -> bytes:
    """Return the bytes whose one unpadded base64 spelling is ``text``, or none."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""
    return raw if base64.b64encode(raw).decode().rstrip("=") == text else b""


def need(holds: object, status: int, problem: str) -> None:
    """Raise unless ``holds``."""
    if not holds:
        raise OpenError(status, problem)


def main(arguments: list[str]) -> int:
    """Do what is asked, say what came of it, and return the exit status."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("keygen").add_argument("key", type=Path)
    opening = commands.add_parser("open")
    opening.add_argument("file", type=Path)
    opening.add_argument("--key", type=Path, required=True)
    opening.add_argument("--out", type=Path, required=True)
    try:
        got = parser.parse_args(arguments)
    except SystemExit as stop:
        return UNTRIED if stop.code else OK  # argparse says 2, which is taken here
    try:
        if got.command == "keygen":
            sys.stdout.write(create_key(got.key) + "\n")
        else:
            open_sealed(got.file, read_seed(got.key), got.out)
            sys.stdout.write(f"opened: {got.out} is what was encrypted for this key\n")
    except OpenError as error:
        status, problem = error.args
        sys.stderr.write(f"FAILED ({status}): {ascii(problem)[1:-1]}\n")
        return int(status)
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
