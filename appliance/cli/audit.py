"""``sallyport audit``: the ledger, its export and its verification."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.audit_flow import prove, write_checkpoint
from appliance.cli import (
    audit_body,
    audit_export,
    audit_hold,
    audit_read,
    audit_retention,
    audit_state,
    audit_verify,
)
from appliance.cli import witness as witness_commands
from appliance.cli.exports import held_files
from appliance.cli.options import Json, host
from appliance.cli.output import show
from appliance.ledger.log import status as ledger_status
from appliance.ledger.log.rotation import Epoch, read_epochs
from appliance.ledger.recover import fsck as check_ledger
from bundleformat.errors import UsageError

app = typer.Typer(help="The ledger and its proof.", no_args_is_help=True)
app.add_typer(witness_commands.app)
app.add_typer(audit_retention.app, name="retention")
app.add_typer(audit_hold.app, name="hold")
app.add_typer(audit_body.app, name="body")
app.command("show")(audit_read.show_one)
app.command()(audit_read.search)
app.command()(audit_read.stats)
app.command()(audit_state.status)
app.command()(audit_state.release)
app.command()(audit_export.export)
app.command("verify-receipt")(audit_verify.verify_receipt)
app.command()(audit_verify.verify)


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
        size = write_checkpoint(host(), out, since=held_files(since))
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
        "pruned": report.pruned,
        "checkpoints": report.checkpoints,
        "epochs": report.epochs,
        "root": report.root.hex(),
        "open_requests": report.open_requests,
    }
    pruned = f" ({report.pruned} of them pruned)" if report.pruned else ""
    line = (
        f"{report.records} records{pruned} and {report.checkpoints} checkpoints under "
        f"{report.epochs} keys add up to root {report.root.hex()}"
    )
    show(value, (line,), as_json=as_json)


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
    since: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A checkpoint that the auditor holds; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the records of one call, and what proves them, for whoever made it.

    The folder is an export of these records alone: verify.py in it checks it, and
    `audit verify-receipt` compares it with what the caller was told.
    """
    made = prove(host(), what, out, since=held_files(since))
    value = {
        "folder": str(made.folder),
        "origin": made.origin,
        "vkey": made.vkey,
        "size": made.size,
        "root": made.root.hex(),
    }
    line = f"wrote what proves {what} below {made.size} records to {made.folder}"
    show(value, (line,), as_json=as_json)
