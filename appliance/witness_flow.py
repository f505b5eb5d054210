"""Being a witness of a ledger, on a machine of one's own.

1. the checkpoint is signed by the ledger whose key was given.
2. it continues the last one that this witness signed.
3. what is signed now is remembered, durably.
4. the cosignature leaves.

What was signed lies in a folder beside the witness's key. Whoever loses it should
begin anew with another key: a witness that forgets signs any history.
Source: C2SP tlog-witness.
"""

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.clock import Clock
from appliance.durable import sync_folder
from appliance.errors import HostNotReadyError, KeyChainError
from appliance.file_lock import exclusive_lock
from appliance.ledger.exports import verifier
from appliance.ledger.exports.out_folder import write_new
from appliance.ledger.log.consistency import check_consistency
from appliance.ledger.tree.cosignature import (
    Witness,
    cosign,
    new_witness,
    parse_witness,
)
from appliance.ledger.tree.note import Checkpoint, decode_note, parse_checkpoint
from appliance.private_file import read_private_file, write_private_file
from bundleformat.errors import (
    ConflictError,
    EquivocationError,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
    StorageFaultError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosigned:
    """What was signed: the note with the new line, its head, and what came before.

    ``before`` is None the first time that this witness signs for the log.
    """

    note: bytes
    head: Checkpoint
    before: Checkpoint | None


def create_witness(path: Path, *, name: str) -> Witness:
    """Write the private key of a new witness to the new file ``path``.

    Raises:
        MalformedError: A key cannot have that name.
        ConflictError: A file of that name is there.
        StorageFaultError: The disk refused.
    """
    witness = new_witness(name)
    write_private_file(path, witness.encode())
    return witness


def cosign_checkpoint(
    checkpoint: Path, *, key_path: Path, log_key: str, clock: Clock
) -> Cosigned:
    """Cosign the checkpoint of an export, or of ``audit checkpoint --out``.

    Args:
        checkpoint: ``checkpoint.txt`` in its folder, whose other files are read.
        key_path: The witness's private key.
        log_key: The ledger's verifier key as it was written down at commissioning.
        clock: Tells when.

    Raises:
        SignatureError, KeyChainError: The ledger did not sign it.
        RollbackError: It covers fewer records than the last one signed.
        EquivocationError: It does not continue the last one signed.
        MissingError: What would show that it does is not in the folder.
        HostNotReadyError: The witness's key is not usable, or in use.
        StorageFaultError: The disk refused; nothing was signed.
    """
    witness = parse_witness(read_private_file(key_path))
    seen = key_path.with_name(f"{key_path.name}.seen")
    busy = HostNotReadyError("another run uses this witness's key", where=str(key_path))
    with exclusive_lock(key_path.with_name(f"{key_path.name}.lock"), busy=busy):
        # 1. the checkpoint is signed by the ledger whose key was given.
        note = _read(checkpoint)
        head = _signed_head(checkpoint, log_key)
        # 2. it continues the last one that this witness signed.
        memory = seen / hashlib.sha256(head.origin.encode()).hexdigest()
        before = _remembered(memory)
        if before is not None:
            _check_continues(checkpoint, head, before, note=note, log_key=log_key)
        signed = cosign(note, witness=witness, seconds=int(clock.now().timestamp()))
        # 3. what is signed now is remembered, durably.
        _remember(memory, signed)
    # 4. the cosignature leaves.
    return Cosigned(note=signed, head=head, before=before)


def check_out(path: Path) -> None:
    """Check that the file a cosignature goes to is not there.

    Raises:
        ConflictError: It is.
    """
    if os.path.lexists(path):
        raise ConflictError(
            "a file of that name is there",
            where=str(path),
            hint="Name a file that does not exist yet.",
        )


def write_out(path: Path, note: bytes) -> None:
    """Write what was cosigned to a new file.

    Raises:
        StorageFaultError: The disk refused; cosigning again gives the same line but
            for its time.
    """
    try:
        write_new(path, note)
    except OSError as error:
        raise StorageFaultError(
            "the cosignature cannot be written",
            where=str(path),
            actual=str(error.strerror),
        ) from error


def _signed_head(checkpoint: Path, log_key: str) -> Checkpoint:
    try:
        key = verifier.parse_key(log_key)
        found = verifier.Export(checkpoint.parent, key)
        if (checkpoint.parent / "epoch-keys.jsonl").exists():
            found.read_chain()
        size, root, _ = found.open_head(checkpoint)
    except verifier.CheckError as error:
        status, problem = error.args
        kinds = {
            verifier.UNCHECKED: MalformedError,
            verifier.CHAIN: KeyChainError,
        }
        raise kinds.get(status, SignatureError)(
            verifier.shown(problem),
            where=str(checkpoint),
            hint="epoch-keys.jsonl, of the same export, must lie beside it.",
        ) from error
    return Checkpoint(origin=key.name, size=size, root=root)


def _check_continues(
    checkpoint: Path, head: Checkpoint, before: Checkpoint, *, note: bytes, log_key: str
) -> None:
    """Check that ``head`` is ``before``, grown or unchanged."""
    where = str(checkpoint)
    if head.size < before.size:
        raise RollbackError(
            "this witness has signed a longer history of the ledger",
            where=where,
            expected=f"at least {before.size} records",
            actual=str(head.size),
            hint="If it is not merely an older export: keep it, it is evidence.",
        )
    if head.size == before.size:
        if head.root != before.root:
            raise EquivocationError(
                "this witness has signed another history of that length",
                where=where,
                hint="Keep both checkpoints: together they are evidence.",
            )
        return
    folder = checkpoint.parent
    proof = folder / "consistency" / f"{before.size}-{head.size}.txt"
    if proof.exists():
        check_consistency(_read(proof), held=before, note=note)
        return
    if not (folder / "records.jsonl").exists():
        raise MissingError(
            "nothing shows that it continues what this witness signed",
            where=str(proof),
            hint="On the host: sallyport audit checkpoint --out FOLDER --since FILE, "
            "with the checkpoint that this witness signed last; or a whole export.",
        )
    last = (before.size, before.root, "what this witness signed")
    verdict = verifier.verify(folder, key=log_key, held=(last,))
    if verdict.status != verifier.OK:
        raise EquivocationError(
            verdict.problem,
            where=str(folder),
            hint="Keep this export and the last cosigned checkpoint: both are signed.",
        )


def _remembered(memory: Path) -> Checkpoint | None:
    if not memory.exists():
        return None
    return parse_checkpoint(decode_note(_read(memory)).text)


def _remember(memory: Path, note: bytes) -> None:
    """Replace what was remembered, all of it or nothing."""
    partial = memory.with_name(f"{memory.name}.{secrets.token_hex(4)}.partial")
    try:
        memory.parent.mkdir(mode=0o700, exist_ok=True)
        with partial.open("xb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(memory)
        sync_folder(memory.parent)
        sync_folder(memory.parent.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageFaultError(
            "what is signed cannot be remembered, so it is not signed",
            where=str(memory),
            actual=str(error.strerror),
        ) from error


def _read(path: Path) -> bytes:
    try:
        return verifier.plain(path, verifier.MAX_BYTES).read_bytes()
    except (verifier.CheckError, OSError) as error:
        raise MissingError("the file cannot be read", where=str(path)) from error
