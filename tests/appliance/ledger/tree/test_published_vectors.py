"""Notes, checkpoints and cosignatures that others published, read with our code.

Where each comes from stands with it. What is published without its key is only
taken apart and put together again.
"""

import base64
import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ledger.exports import verifier
from appliance.ledger.tree.cosignature import open_cosignature, parse_witness_key
from appliance.ledger.tree.note import (
    decode_note,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_vkey,
    sign_note,
)
from bundleformat.errors import MalformedError, RefusalError, SignatureError

DASH = "\N{EM DASH} "

# golang.org/x/mod, sumdb/note/note_test.go: two keys, one private key, one text, and
# what each of the two signed. The private key is published there and is nobody's.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    f"{DASH}PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    f"{DASH}EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ov"
    "TG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
BOTH = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode()

# C2SP signed-note, "Example".
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    f"{DASH}example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYN"
    "ZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

# C2SP signed-note v1.0.0 (a text with an empty line) and tlog-checkpoint, their first
# examples; their keys are not published.
KEYLESS = (
    (
        "Ognuno sta solo sul cuor della terra\n"
        "trafitto da un raggio di sole:\n\n"
        "ed \N{LATIN SMALL LETTER E WITH GRAVE} subito sera.\n\n"
        f"{DASH}quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLl"
        "C+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ),
    (
        "example.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        f"{DASH}example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDe"
        "OoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    ),
)

# A checkpoint that the certificate transparency log "arche2025h1.staging" served in
# May 2026, with its own two signatures (RFC 6962's and a plain one) and those of four
# witnesses, as the tests of the Python package tlog_scales quote it. The witness's
# key is also in transparency-dev/formats, note/note_cosigv1_test.go.
LOG_KEY = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+"
    "AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
WITNESS_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
COSIGNED = (
    "arche2025h1.staging.ct.transparency.dev\n1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n"
    f"{DASH}arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9p"
    "vsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
    f"{DASH}arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQa"
    "bg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n"
    f"{DASH}transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE"
    "6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n"
    f"{DASH}witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+e"
    "ebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n"
    f"{DASH}remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9"
    "DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
    f"{DASH}witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9"
    "Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n"
).encode()


@pytest.mark.parametrize(
    "message",
    [
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{PETER_LINE[:-1]}",
        f"\x01{TEXT}\n{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}",
        f"{TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"{TEXT}\n" + PETER_LINE * 101,
    ],
)
def test_every_note_that_go_refuses_is_refused(message: str) -> None:
    with pytest.raises(RefusalError):
        open_note(message.encode(), key=parse_vkey(PETER))


def test_no_part_of_the_key_of_gos_tests_and_no_changed_one_is_a_key() -> None:
    parts = {PETER[i:j] for i in range(len(PETER)) for j in range(i, len(PETER) + 1)}
    changed = {
        PETER[:i] + chr(ord(PETER[i]) + 1) + PETER[i + 1 :] for i in range(len(PETER))
    }
    odd = {
        # Of another length and of an unknown kind, each with an id that fits.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    }
    for text in (parts - {PETER}) | changed | odd:
        with pytest.raises(MalformedError):
            parse_vkey(text)


def test_a_signature_of_gos_tests_with_more_in_it_is_refused() -> None:
    longer = f"{TEXT}\n{PETER_LINE[:60]}ABCD{PETER_LINE[60:]}".encode()
    with pytest.raises(SignatureError):
        open_note(longer, key=parse_vkey(PETER))


def test_gos_private_key_signs_the_published_note_byte_by_byte() -> None:
    seed = base64.b64decode(PETER_PRIVATE)[1:]
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    note = sign_note(TEXT, name="PeterNeumann", signer=signer)
    assert note == f"{TEXT}\n{PETER_LINE}".encode()


@pytest.mark.parametrize(
    ("note", "key", "text"),
    [
        (BOTH, PETER, TEXT),
        (BOTH, ENOCH, TEXT),
        (SPEC_NOTE, SPEC_KEY, "This is an example message.\n"),
    ],
)
def test_published_notes_open_in_the_host_and_at_the_auditor(
    note: bytes, key: str, text: str
) -> None:
    assert open_note(note, key=parse_vkey(key)) == text
    assert verifier.open_note(note, [verifier.parse_key(key)], "note") == (text, 0)
    assert parse_vkey(key).encode() == key
    assert decode_note(note).encode() == note


@pytest.mark.parametrize("note", KEYLESS)
def test_published_notes_without_a_key_come_apart_and_together_again(note: str) -> None:
    read = decode_note(note.encode())
    assert read.encode() == note.encode()
    assert read.text == note.rpartition("\n\n")[0] + "\n"


def test_a_checkpoint_of_a_real_log_opens_with_its_key_and_a_witnesss() -> None:
    checkpoint = open_checkpoint(COSIGNED, key=parse_vkey(LOG_KEY))
    assert checkpoint.size == 1432088532
    assert checkpoint.encode().encode() == COSIGNED.partition(b"\n\n")[0] + b"\n"
    assert parse_checkpoint(decode_note(COSIGNED).text) == checkpoint
    cosigned = open_cosignature(COSIGNED, key=parse_witness_key(WITNESS_KEY))
    when = dt.datetime.fromtimestamp(cosigned.seconds, dt.UTC)
    assert (when.year, when.month) == (2026, 5)
    text, seconds = verifier.open_note(
        COSIGNED, [verifier.parse_key(WITNESS_KEY, 4)], "note"
    )
    assert (text, seconds) == (checkpoint.encode(), cosigned.seconds)


@pytest.mark.parametrize("change", [b"1432088533\n", b"1432088532\nmore\n"])
def test_a_changed_checkpoint_of_a_real_log_opens_with_neither(change: bytes) -> None:
    note = COSIGNED.replace(b"1432088532\n", change)
    with pytest.raises(SignatureError):
        open_checkpoint(note, key=parse_vkey(LOG_KEY))
    with pytest.raises(SignatureError):
        open_cosignature(note, key=parse_witness_key(WITNESS_KEY))


def test_the_time_of_a_published_cosignature_is_what_its_test_says() -> None:
    # transparency-dev/formats, note/note_cosigv1_test.go, TestCoSigV1Timestamp.
    body = (
        "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gx"
        "EHWWOworDcFiEBYJXORmnFBOBA=="
    )
    (line,) = decode_note(f"text\n\n{DASH}w {body}\n".encode()).signatures
    assert int.from_bytes(line.signature[:8]) == 1727964367
