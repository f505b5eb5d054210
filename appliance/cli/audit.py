"""``sallyport audit``: the ledger, its export and its verification."""

import os
from pathlib import Path
from typing import Annotated

import typer

from appliance.audit_flow import (
    Asked,
    export_ledger,
    prove,
    write_checkpoint,
)
from appliance.audit_formats.derive import parse_formats
from appliance.cli import audit_read, audit_state
from appliance.cli import witness as witness_commands
from appliance.cli.exports import (
    Formats,
    Iso,
    Tar,
    carrier_of,
    export_lines,
    export_value,
)
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show
from appliance.errors import KeyChainError
from appliance.ledger.exports import verifier
from appliance.ledger.exports.receipt_header import find_record, parse_receipt
from appliance.ledger.log import status as ledger_status
from appliance.ledger.log.rotation import Epoch, read_epochs
from appliance.ledger.recover import fsck as check_ledger
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
        "Name a folder as `audit export` wrote it, with plain files only.",
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
            "the ledger it belongs to did not sign this."
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

app = typer.Typer(help="The ledger and its proof.", no_args_is_help=True)
app.add_typer(witness_commands.app)
app.command("show")(audit_read.show_one)
app.command()(audit_read.search)
app.command()(audit_read.stats)


app.command()(audit_state.status)
app.command()(audit_state.release)


@app.command()
def key(as_json: Json = False) -> None:
    """Print the ledger's first verifier key, for the auditor to write down."""
    opened = host()
    show({"vkey": opened.log.vkey}, (opened.log.vkey,), as_json=as_json)


@app.command()
def keys(as_json: Json = False) -> None:
    """List the keys that signed this ledger's heads, each under the one before it."""
    with host().look() as connection:
        epochs = read_epochs(connection)
    value = [
        {
            "epoch": epoch.number,
            "vkey": epoch.vkey,
            "from_size": epoch.from_size,
            "to_size": epoch.to_size,
            "rotate_seq": epoch.rotate_seq,
            "destroyed_ts": epoch.destroyed_ts,
        }
        for epoch in epochs
    ]
    show({"keys": value}, tuple(map(_epoch_line, epochs)), as_json=as_json)


def _epoch_line(epoch: Epoch) -> str:
    if epoch.to_size is None:
        signed, fate = f"heads of more than {epoch.from_size} records", "in use"
    else:
        signed = f"heads of {epoch.from_size + 1} to {epoch.to_size} records"
        gone = f"destroyed {epoch.destroyed_ts}"
        fate = gone if epoch.destroyed_ts else "closed; destroyed at the next start"
    return f"{epoch.number}  {epoch.vkey}  {signed}  {fate}"


@app.command()
def checkpoint(
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder that does not exist yet: for a witness, with the keys "
            "and proofs.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="With --out: a checkpoint that the witness signed; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the newest signed checkpoint, to be kept outside this host."""
    if out is not None:
        held = tuple((str(path), read_input(path)) for path in since or ())
        size = write_checkpoint(host(), out, since=held)
        line = f"wrote the checkpoint over {size} records to {out}"
        show({"folder": str(out), "size": size}, (line,), as_json=as_json)
        return
    if since:
        raise UsageError(
            "a proof needs a folder to be written to",
            where="--since",
            hint="Name it with --out.",
        )
    with host().look() as connection:
        note = ledger_status.checkpoint(connection)
    show({"checkpoint": note}, tuple(note.splitlines()), as_json=as_json)


@app.command()
def fsck(as_json: Json = False) -> None:
    """Recompute every record, root and signature of this host's ledger."""
    opened = host()
    with opened.look() as connection:
        report = check_ledger(connection, log=opened.log)
    value = {
        "records": report.records,
        "checkpoints": report.checkpoints,
        "epochs": report.epochs,
        "root": report.root.hex(),
        "open_requests": report.open_requests,
    }
    line = (
        f"{report.records} records and {report.checkpoints} checkpoints under "
        f"{report.epochs} keys add up to root {report.root.hex()}"
    )
    show(value, (line,), as_json=as_json)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - one parameter per option
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    formats: Formats = "jsonl",
    tar: Tar = False,
    iso: Iso = False,
    since: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A checkpoint that the auditor holds; may be repeated. The export "
            "then shows that its records are the first of this ledger's.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="First record: its number, a day or a moment."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="Last record: its number, a day or a moment."),
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Only this event, as llm.request.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Only records of this team.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only requests to this model, and how they ended."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the ledger and a stand-alone verifier to a folder for the auditor.

    records.jsonl is the evidence; other formats are made from it for convenience.
    Of records that were not asked for only hashes are written, one for each within
    the range, so that nobody can say less was left out than was.
    """
    chosen = parse_formats(formats)
    carrier = carrier_of(tar=tar, iso=iso)
    asked = Asked(
        start=start,
        end=end,
        event=event,
        team=team,
        model=model,
        since=tuple((str(path), read_input(path)) for path in since or ()),
    )
    made = export_ledger(host(), out, formats=chosen, carrier=carrier, asked=asked)
    value = export_value(made, formats=chosen)
    show(value, export_lines(made, carrier=carrier), as_json=as_json)


@app.command("prove")
def prove_call(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SEQ|REQUEST_ID|RECEIPT",
            help="A record's number, a request's id, or the receipt of an answer.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    as_json: Json = False,
) -> None:
    """Write the records of one call, and what proves them, for whoever made it.

    The folder is an export of these records alone: verify.py in it checks it, and
    `audit verify-receipt` compares it with what the caller was told.
    """
    made = prove(host(), what, out)
    value = {
        "folder": str(made.folder),
        "origin": made.origin,
        "vkey": made.vkey,
        "size": made.size,
        "root": made.root.hex(),
    }
    line = f"wrote what proves {what} below {made.size} records to {made.folder}"
    show(value, (line,), as_json=as_json)


@app.command("verify-receipt")
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


@app.command()
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
    for path in (*(folder / name for name in verifier.FILES), *held):
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
