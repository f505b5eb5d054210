"""``sallyport receipts``: evidence of what came in, for a security officer."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from appliance import receipt_flow
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.ledger.exports.receipt_export import Selection

app = typer.Typer(
    help=(
        "Evidence of what came in and what was refused, for a security officer. "
        "The whole ledger is exported with `audit export`."
    ),
    no_args_is_help=True,
)

Channel = Annotated[
    str | None, typer.Option(help="Only those of this channel.", show_default=False)
]
Version = Annotated[
    int | None,
    typer.Option(min=1, help="Only those of this version.", show_default=False),
]


@app.command("list")
def list_all(
    channel: Channel = None, version: Version = None, as_json: Json = False
) -> None:
    """List imports, refusals, rollbacks and removals as the ledger holds them."""
    found = receipt_flow.list_receipts(
        host(), Selection(channel=channel, version=version)
    )
    rows = tuple(
        (
            str(each.seq),
            each.text("ts")[:19] + "Z",
            each.text("event"),
            each.text("outcome"),
            each.text("channel"),
            each.text("version"),
            each.text("code") or each.text("generation"),
        )
        for each in found
    )
    headings = ("RECORD", "TIME", "EVENT", "OUTCOME", "CHANNEL", "VERSION", "")
    value = {"receipts": [each.fields for each in found]}
    show(value, table(headings, rows), as_json=as_json)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    channel: Channel = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Write receipts, their proofs and a stand-alone verifier to a folder.

    Each receipt is a record's exact bytes, with the proof that it is in the ledger
    under a signed head; receipts.txt says the same in words. That an export was
    made is itself recorded.
    """
    made = receipt_flow.export_receipts(
        host(), out, selection=Selection(channel=channel, version=version)
    )
    value = {
        "folder": str(made.folder),
        "vkey": made.vkey,
        "receipts": made.receipts,
        "size": made.size,
        "root": made.root.hex(),
    }
    lines = (
        f"wrote {made.receipts} receipts to {made.folder}",
        (
            "they are checked with: python -I verify_receipt.py "
            f"{shlex.quote(str(made.folder))} --key {shlex.quote(made.vkey)}"
        ),
    )
    show(value, lines, as_json=as_json)
