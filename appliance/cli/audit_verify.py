"""``sallyport audit verify`` and ``verify-receipt``: on any machine, without a host."""

import os
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.options import Json
from appliance.cli.output import show
from appliance.errors import KeyChainError
from appliance.ledger.exports import verifier
from appliance.ledger.exports.receipt_header import find_record, parse_receipt
from appliance.ledger.tree.cosignature import parse_witness_key
from bundleformat.errors import (
    DigestMismatchError,
    EquivocationError,
    MalformedError,
    MissingError,
    RefusalError,
    RollbackError,
    SignatureError,
    UsageError,
)

FAILURES: dict[int, tuple[type[RefusalError], str]] = {
    verifier.UNCHECKED: (
        MalformedError,
        (
            "Name a folder as `audit export` wrote it, with plain files only, and each "
            "--held by a file that you kept outside of it."
        ),
    ),
    verifier.RECORD: (
        DigestMismatchError,
        (
            "Copy the export again from its source; if it is refused again, it was "
            "altered: keep both copies."
        ),
    ),
    verifier.SIGNATURE: (
        SignatureError,
        (
            "Compare --key with what was written down at commissioning; if it is that, "
            "the ledger it belongs to did not sign this. A held checkpoint of a later "
            "key shows that this export is cut off, if it is whole itself."
        ),
    ),
    verifier.TRUNCATED: (
        RollbackError,
        (
            "Copy the export again, whole; if it is still short, records were taken "
            "away: keep it, and every checkpoint you hold."
        ),
    ),
    verifier.INCONSISTENT: (
        EquivocationError,
        (
            "Keep this export and the held checkpoint: both are signed, and together "
            "they show that history was rewritten."
        ),
    ),
    verifier.GAP: (
        MissingError,
        (
            "Copy the export again from its source; if the record is still missing, it "
            "was taken out: keep both copies."
        ),
    ),
    verifier.CHAIN: (
        KeyChainError,
        (
            "Compare --key with what was written down at commissioning and copy the "
            "export again; if its keys still do not follow, keep both copies."
        ),
    ),
}
"""The verifier's exit statuses in the words of the error tree, and what to do."""


def verify_receipt(
    receipt: Annotated[
        str,
        typer.Argument(
            metavar="RECEIPT", help="The header x-audit-receipt of an answer."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(help="An export, or what `audit prove` wrote.")
    ],
    key: Annotated[
        str,
        typer.Option(
            metavar="VKEY",
            help="The ledger's verifier key as it was written down at commissioning.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Check that an export is of the history that a caller was told of.

    Works on any machine, without the host; refuses with status 3.
    """
    told = parse_receipt(receipt)
    _check_arguments(folder, key=key, held=())
    head = (told.size, told.root, f"receipt {receipt}")
    verdict = _verdict(folder, verifier.verify(folder, key=key, held=(head,)))
    record = find_record(folder, told.seq)
    value = {
        "origin": verdict.origin,
        "seq": told.seq,
        "record": record,
        "proved": list(verdict.proved),
        "not_proved": list(verdict.not_proved),
    }
    said = "its record is not in this export"
    if record is not None:
        call = record.get("request_id", "no call")
        said = f"record {told.seq}: {record['event']} of {call}"
    lines = (*verdict.text().splitlines(), verifier.shown(said))
    show(value, lines, as_json=as_json)


def verify(
    folder: Annotated[Path, typer.Argument(help="An export, on any machine.")],
    key: Annotated[
        str,
        typer.Option(
            metavar="VKEY",
            help="The ledger's verifier key as it was written down at commissioning.",
        ),
    ],
    held: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A checkpoint.txt kept from an earlier export; may be repeated.",
            show_default=False,
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY",
            help="The key of a witness whose cosignatures must be there and hold; "
            "may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify an export without trusting the host that wrote it.

    Says the same as `python -I verify.py` on the export; refuses with status 3.
    """
    witnesses = tuple(parse_witness_key(each).encode() for each in witness or ())
    kept = tuple(held or ())
    _check_arguments(folder, key=key, held=kept)
    verdict = _verdict(
        folder, verifier.verify(folder, key=key, held=kept, witnesses=witnesses)
    )
    value = {
        "origin": verdict.origin,
        "proved": list(verdict.proved),
        "not_proved": list(verdict.not_proved),
    }
    show(value, tuple(verdict.text().splitlines()), as_json=as_json)


def _verdict(folder: Path, verdict: verifier.Verdict) -> verifier.Verdict:
    """Return the verdict on ``folder`` if everything holds.

    Raises:
        RefusalError: It does not; the leaf says which kind of check failed.
    """
    if verdict.status != verifier.OK:
        failure, hint = FAILURES[verdict.status]
        # Where the problem names a file by its path, the folder is said already.
        where = "" if str(folder) in verdict.problem else str(folder)
        raise failure(verdict.problem, where=where, hint=hint)
    return verdict


def _check_arguments(folder: Path, *, key: str, held: tuple[Path, ...]) -> None:
    # Of an archive the verifier itself says that it is to be unpacked.
    files = () if folder.is_file() else tuple(folder / name for name in verifier.FILES)
    for path in (*files, *held):
        if not os.path.lexists(path):
            raise MissingError(
                "no such file",
                where=str(path),
                hint="Name the whole folder that `audit export` wrote, and each "
                "--held by the path of its file.",
            )
    try:
        verifier.parse_key(key)
    except verifier.CheckError as error:
        raise UsageError(
            "not a whole verifier key",
            where="--key",
            expected="NAME+ID+BASE64",
            actual=ascii(key),
            hint="Give the line that `audit key` printed at commissioning, in quotes.",
        ) from error
