"""Notes, keys and checkpoints are read in their one encoding, or refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from appliance.ledger.tree.merkle import EMPTY_ROOT, leaf_hash
from appliance.ledger.tree.note import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Signature,
    SignedNote,
    VerifierKey,
    decode_note,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_vkey,
    sign_note,
)
from bundleformat.errors import LimitExceededError, MalformedError, SignatureError

GO_SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
"""The published verifier key of Go's checksum database."""

NAME = "test.example/audit/1"
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(name=NAME, public=SIGNER.public_key().public_bytes_raw())
HEAD = Checkpoint(origin=NAME, size=7, root=leaf_hash(b"seven"))
NOTE = sign_note(HEAD.encode(), name=NAME, signer=SIGNER)


def test_the_key_id_of_gos_checksum_database_is_its_published_one() -> None:
    key = parse_vkey(GO_SUMDB)
    assert (key.name, key.key_id.hex()) == ("sum.golang.org", "033de0ae")
    assert key.encode() == GO_SUMDB


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        GO_SUMDB[:-4],
        GO_SUMDB.replace("033de0ae", "033de0af"),
        GO_SUMDB.replace("033de0ae", "033DE0AE"),
        GO_SUMDB.replace("sum.", "sum "),
        GO_SUMDB + "\n",
        GO_SUMDB.replace("+Ac4", "+Bc4"),
    ],
)
def test_a_key_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_vkey(text)


def test_a_signed_checkpoint_opens_with_its_key() -> None:
    assert open_checkpoint(NOTE, key=KEY) == HEAD
    assert decode_note(NOTE).encode() == NOTE


def test_a_checkpoint_is_refused_when_any_byte_changes() -> None:
    for place in range(len(NOTE)):
        changed = bytearray(NOTE)
        changed[place] ^= 1 << place % 8
        with pytest.raises((SignatureError, MalformedError)):
            open_checkpoint(bytes(changed), key=KEY)


def test_a_note_of_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    forged = sign_note(HEAD.encode(), name=NAME, signer=other)
    with pytest.raises(SignatureError) as caught:
        open_checkpoint(forged, key=KEY)
    assert caught.value.where == NAME


def test_a_signature_under_our_key_id_that_does_not_fit_is_refused() -> None:
    good = decode_note(NOTE)
    bad = Signature(name=NAME, key_id=KEY.key_id, signature=bytes(64))
    note = SignedNote(text=good.text, signatures=(*good.signatures, bad))
    with pytest.raises(SignatureError):
        open_note(note.encode(), key=KEY)


def test_signatures_of_witnesses_are_kept_and_ignored() -> None:
    good = decode_note(NOTE)
    witness = Signature(name="witness", key_id=b"abcd", signature=b"later")
    note = SignedNote(text=good.text, signatures=(witness, *good.signatures)).encode()
    assert open_checkpoint(note, key=KEY) == HEAD
    assert decode_note(note).encode() == note


def test_a_checkpoint_of_another_log_is_refused_though_the_key_signed_it() -> None:
    foreign = Checkpoint(origin="other", size=7, root=HEAD.root).encode()
    with pytest.raises(SignatureError) as caught:
        open_checkpoint(sign_note(foreign, name=NAME, signer=SIGNER), key=KEY)
    assert (caught.value.expected, caught.value.actual) == (NAME, "other")


ROOT = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n\u0661\n{ROOT}\n",
        f"log\n1\n{ROOT[:-4]}\n",
        f"log\n1\n{ROOT}\nextension\n",
        f"log\n{10**19}\n{ROOT}\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        "text\n\n\u2014 name AAAA\n".encode(),
        "text\n\n\u2014 name AAAAAAB=\n".encode(),
        "text\n\n\u2014 na+me AAAAAAA=\n".encode(),
        "text\n\n\u2014 name AAAAAAA=".encode(),
        "te\rxt\n\n\u2014 name AAAAAAA=\n".encode(),
        "text\xff\n\n\u2014 name AAAAAAA=\n".encode("utf-16"),
    ],
)
def test_bytes_that_are_no_note_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_note(data)


@pytest.mark.parametrize(
    "data",
    [b"x" * (MAX_NOTE_BYTES + 1), b"t\n\n" + "\u2014 n AAAAAAA=\n".encode() * 17],
)
def test_a_note_above_its_limits_is_refused(data: bytes) -> None:
    with pytest.raises(LimitExceededError):
        decode_note(data)


LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
SIGNATURES = st.builds(
    Signature,
    name=st.from_regex(r"[a-z./]{1,20}", fullmatch=True),
    key_id=st.binary(min_size=4, max_size=4),
    signature=st.binary(min_size=1, max_size=80),
)


@given(
    st.lists(LINES, min_size=1, max_size=5),
    st.lists(SIGNATURES, min_size=1, max_size=4),
)
def test_every_note_survives_the_round_trip(
    lines: list[str], signatures: list[Signature]
) -> None:
    note = SignedNote(text="\n".join(lines) + "\n", signatures=tuple(signatures))
    assert decode_note(note.encode()) == note


@given(st.binary(max_size=200))
def test_any_bytes_either_round_trip_or_are_refused(data: bytes) -> None:
    try:
        note = decode_note(data)
    except (MalformedError, LimitExceededError):
        return
    assert note.encode() == data


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_survives_the_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin=NAME, size=size, root=root)
    assert parse_checkpoint(checkpoint.encode()) == checkpoint
