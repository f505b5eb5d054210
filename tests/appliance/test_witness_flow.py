"""A witness signs one history of a ledger, and the ledger carries what it signed."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from appliance.errors import HostNotReadyError, KeyChainError
from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.consistency import held_checkpoint
from appliance.ledger.log.cosigned import import_cosignature
from appliance.ledger.recover import fsck
from appliance.ledger.tree.cosignature import (
    Witness,
    cosign,
    new_witness,
    open_cosignature,
    parse_witness,
    parse_witness_key,
)
from appliance.ledger.tree.note import Checkpoint, VerifierKey, decode_note
from appliance.private_file import write_private_file
from appliance.witness_flow import Cosigned, cosign_checkpoint, create_witness
from bundleformat.errors import (
    ConflictError,
    EquivocationError,
    Error,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
)
from tests.support.forgery import Thief, copy_with, records_of, resign
from tests.support.ledgers import (
    NOW,
    FixedClock,
    Ledger,
    ledger_in,
    refusal,
    request,
)


def _export(
    ledger: Ledger,
    folder: Path,
    *,
    since: tuple[Path, ...] = (),
    selection: Selection | None = None,
) -> Path:
    with ledger.engine.connect() as connection:
        held = tuple(
            held_checkpoint(connection, path.read_bytes(), where=str(path))
            for path in since
        )
    wishes = Wishes(selection=selection or Selection(), since=held)
    return ledger.export(folder, wishes)


def _sign(ledger: Ledger, folder: Path, key: Path) -> Cosigned:
    return cosign_checkpoint(
        folder / "checkpoint.txt",
        key_path=key,
        log_key=ledger.log.vkey,
        clock=FixedClock(),
    )


def _take_in(ledger: Ledger, note: bytes, witness: Witness) -> Checkpoint:
    with ledger.engine.begin() as connection:
        return import_cosignature(
            connection,
            note,
            witness=witness.key,
            log=ledger.log,
            keys=ledger.keys,
            now=NOW,
        )


def _verdict(ledger: Ledger, folder: Path, *witnesses: Witness) -> verifier.Verdict:
    """The verdict on which the module and the exported program agree."""
    keys = tuple(each.key.encode() for each in witnesses)
    verdict = verifier.verify(folder, key=ledger.log.vkey, witnesses=keys)
    named = [word for key in keys for word in ("--witness", key)]
    done = subprocess.run(
        [
            *(sys.executable, "-I", folder / "verify.py", folder),
            *("--key", ledger.log.vkey, *named),
        ],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (verdict.status, b"")
    assert done.stdout.decode() == verdict.text()
    return verdict


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "home").mkdir()
    with ledger_in(tmp_path / "home") as made:
        made.append([request("r1")])
        made.rotate()
        made.append([refusal()])
        yield made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_witness(tmp_path / "witness.key", name="auditor.example")
    return tmp_path / "witness.key"


def _witness(key: Path) -> Witness:
    return parse_witness(key.read_bytes())


def _remembered(key: Path) -> list[bytes]:
    folder = key.with_name("witness.key.seen")
    return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []


def _without_chain(folder: Path, _: Ledger) -> None:
    (folder / "epoch-keys.jsonl").unlink()


def _broken_chain(folder: Path, _: Ledger) -> None:
    (folder / "epoch-keys.jsonl").write_bytes(b"{}\n")


def _by_a_thief(folder: Path, ledger: Ledger) -> None:
    resign(folder, ledger=Thief(ledger.log, Ed25519PrivateKey.generate()))


def _no_checkpoint(folder: Path, _: Ledger) -> None:
    (folder / "checkpoint.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_without_chain, SignatureError),
        (_broken_chain, KeyChainError),
        (_by_a_thief, SignatureError),
        (_no_checkpoint, MissingError),
    ],
)
def test_what_the_ledger_did_not_sign_is_not_cosigned(
    ledger: Ledger,
    key: Path,
    tmp_path: Path,
    *,
    spoil: Callable[[Path, Ledger], None],
    kind: type[Error],
) -> None:
    folder = _export(ledger, tmp_path / "out")
    spoil(folder, ledger)
    with pytest.raises(kind):
        _sign(ledger, folder, key)
    assert _remembered(key) == []


def test_a_history_that_does_not_continue_the_last_one_is_not_cosigned(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    first = _export(ledger, tmp_path / "first")
    _sign(ledger, first, key)
    remembered = _remembered(key)
    ledger.append([refusal()])
    second = _export(ledger, tmp_path / "second")
    rewritten = [
        r.replace(b'"status":401', b'"status":402') for r in records_of(second)
    ]
    forked = copy_with(second, rewritten, to=tmp_path / "forked")
    resign(forked, ledger=ledger)
    with pytest.raises(EquivocationError):
        _sign(ledger, forked, key)
    same_length = copy_with(
        second, rewritten[: len(records_of(first))], to=tmp_path / "same"
    )
    resign(same_length, ledger=ledger)
    with pytest.raises(EquivocationError):
        _sign(ledger, same_length, key)
    shorter = copy_with(second, records_of(second)[:4], to=tmp_path / "shorter")
    resign(shorter, ledger=ledger)
    with pytest.raises(RollbackError):
        _sign(ledger, shorter, key)
    assert _remembered(key) == remembered
    assert _sign(ledger, second, key).before is not None


def test_a_checkpoint_alone_does_not_show_that_it_continues(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    first = _export(ledger, tmp_path / "first")
    done = _sign(ledger, first, key)
    (tmp_path / "cosigned").write_bytes(done.note)
    ledger.append([refusal()])
    second = _export(ledger, tmp_path / "second", since=(tmp_path / "cosigned",))
    small = tmp_path / "small"
    shutil.copytree(second, small)
    for path in small.iterdir():
        if path.name not in ("checkpoint.txt", "epoch-keys.jsonl", "consistency"):
            path.unlink()
    (proof,) = (small / "consistency").iterdir()
    whole = proof.read_bytes()
    proof.unlink()
    with pytest.raises(MissingError):
        _sign(ledger, small, key)
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1
        proof.write_bytes(changed)
        with pytest.raises((MalformedError, EquivocationError)):
            _sign(ledger, small, key)
    proof.write_bytes(whole)
    assert _sign(ledger, small, key).before == done.head


def test_a_witness_that_cannot_remember_does_not_sign(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out")
    key.with_name("witness.key.seen").write_bytes(b"in the way")
    with pytest.raises(Error):
        _sign(ledger, folder, key)


def test_a_key_that_others_may_read_or_that_is_none_signs_nothing(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out")
    data = key.read_bytes()
    typed = data.rstrip().rpartition(
        b"+" + _witness(key).key.key_id.hex().encode() + b"+"
    )[2]
    raw = base64.b64decode(typed)
    key.chmod(0o644)
    with pytest.raises(HostNotReadyError):
        _sign(ledger, folder, key)
    for name, changed in (
        ("cut", data[:-4]),
        ("id", re.sub(rb"\+[0-9a-f]{8}\+", b"+00000000+", data)),
        ("type", data.replace(typed, base64.b64encode(b"\x01" + raw[1:]))),
        ("empty", b""),
    ):
        write_private_file(tmp_path / name, changed)
        with pytest.raises(MalformedError):
            _sign(ledger, folder, tmp_path / name)


def test_a_cosignature_is_as_c2sp_writes_it(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out")
    done = _sign(ledger, folder, key)
    note = (folder / "checkpoint.txt").read_bytes()
    assert done.note.startswith(note)
    line = done.note[len(note) :].decode()
    dash, name, body = line.split(" ")
    raw = base64.b64decode(body)
    witness = _witness(key)
    assert (dash, name, raw[:4]) == (
        "\N{EM DASH}",
        "auditor.example",
        witness.key.key_id,
    )
    assert (len(raw), int.from_bytes(raw[4:12])) == (76, int(NOW.timestamp()))
    message = f"cosignature/v1\ntime {int(NOW.timestamp())}\n{decode_note(note).text}"
    witness.signer.public_key().verify(raw[12:], message.encode())
    # The log's own key and a cosigner's key are never the same key.
    public = witness.key.public
    assert VerifierKey(name=name, public=public).key_id != witness.key.key_id
    assert parse_witness_key(witness.key.encode()) == witness.key
    # Signing again replaces the line and does not add one.
    assert (
        len(decode_note(cosign(done.note, witness=witness, seconds=1)).signatures) == 2
    )


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_witness_has_a_name_that_a_note_can_carry(name: str) -> None:
    with pytest.raises(MalformedError):
        new_witness(name)


def test_what_another_signed_is_not_taken_in(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out")
    done = _sign(ledger, folder, key)
    before = ledger.count()
    other = new_witness("auditor.example")
    size = done.head.size
    changed = done.note.replace(b"\n%d\n" % size, b"\n%d\n" % (size - 1), 1)
    for note, witness, kind in (
        (done.note, other, SignatureError),
        ((folder / "checkpoint.txt").read_bytes(), _witness(key), SignatureError),
        (changed, _witness(key), Error),
        (b"", _witness(key), MalformedError),
    ):
        with pytest.raises(kind):
            _take_in(ledger, note, witness)
    forged = copy_with(
        folder, [*records_of(folder)[:-1], b"{}"], to=tmp_path / "forged"
    )
    resign(forged, ledger=ledger)
    head = (forged / "checkpoint.txt").read_bytes()
    lie = cosign(head, witness=other, seconds=1)
    with pytest.raises(EquivocationError):
        _take_in(ledger, lie, other)
    foreign = lie.replace(ledger.log.origin.encode(), b"elsewhere")
    with pytest.raises(SignatureError):
        _take_in(ledger, foreign, other)
    assert (ledger.count(), ledger.count("cosignature")) == (before, 0)


def test_a_cosignature_travels_in_every_later_export_and_is_verified(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "first")
    done = _sign(ledger, folder, key)
    head = _take_in(ledger, done.note, _witness(key))
    assert head == done.head
    with pytest.raises(ConflictError):
        _take_in(ledger, done.note, _witness(key))
    second = new_witness("second.example")
    _take_in(ledger, cosign(done.note, witness=second, seconds=7), second)
    part = Selection(event="llm.request")
    for name, selection in (("whole", None), ("part", part)):
        later = _export(ledger, tmp_path / name, selection=selection)
        verdict = _verdict(ledger, later, _witness(key), second)
        assert verdict.status == verifier.OK
        assert any(
            "auditor.example at 2026-11-22T08:04:29" in f for f in verdict.proved
        )
        assert any(f"from {head.size} on" in gap for gap in verdict.not_proved)
        stranger = new_witness("nobody.example")
        assert _verdict(ledger, later, stranger).status == verifier.SIGNATURE
        imposter = new_witness("auditor.example")
        assert _verdict(ledger, later, imposter).status == verifier.SIGNATURE
    events = [json.loads(r)["event"] for r in records_of(tmp_path / "whole")]
    assert events[-4:-1] == ["log.exported", "log.cosigned", "log.cosigned"]
    with ledger.engine.connect() as connection:
        fsck(connection, log=ledger.log)


def test_a_history_that_a_witness_did_not_sign_is_caught_without_a_held_checkpoint(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "first")
    _take_in(ledger, _sign(ledger, folder, key).note, _witness(key))
    later = _export(ledger, tmp_path / "later")
    records = records_of(later)
    records[3] = records[3].replace(b'"status":401', b'"status":402')
    forged = copy_with(later, records, to=tmp_path / "forged")
    resign(forged, ledger=ledger)
    assert _verdict(ledger, forged).status == verifier.OK
    assert _verdict(ledger, forged, _witness(key)).status == verifier.INCONSISTENT
    (forged / "cosignatures.txt").unlink()
    assert _verdict(ledger, forged, _witness(key)).status == verifier.UNCHECKED


def test_no_byte_of_a_witness_s_signature_can_change_unnoticed(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "first")
    _take_in(ledger, _sign(ledger, folder, key).note, _witness(key))
    later = _export(ledger, tmp_path / "later")
    path = later / "cosignatures.txt"
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        verdict = verifier.verify(
            later, key=ledger.log.vkey, witnesses=(_witness(key).key.encode(),)
        )
        assert verdict.status not in (verifier.OK, verifier.UNCHECKED), place


def test_a_cosignature_is_never_changed_or_removed(
    ledger: Ledger, key: Path, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "first")
    _take_in(ledger, _sign(ledger, folder, key).note, _witness(key))
    for statement in ("DELETE FROM cosignature", "UPDATE cosignature SET line = 'x'"):
        with (
            ledger.engine.connect() as connection,
            pytest.raises(IntegrityError),
        ):
            connection.execute(text(statement))


def test_a_cosignature_says_when(ledger: Ledger, key: Path, tmp_path: Path) -> None:
    done = _sign(ledger, _export(ledger, tmp_path / "out"), key)
    found = open_cosignature(done.note, key=_witness(key).key)
    assert found.seconds == int(NOW.timestamp())
    with pytest.raises(SignatureError):
        open_cosignature(done.note, key=new_witness("auditor.example").key)
