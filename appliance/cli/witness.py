"""``sallyport audit``: cosigning, on the witness's machine and on the host."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.account import account_fields
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show
from appliance.clock import SystemClock
from appliance.ledger.log.cosigned import import_cosignature
from appliance.ledger.tree.cosignature import parse_witness_key
from appliance.witness_flow import (
    check_out,
    cosign_checkpoint,
    create_witness,
    write_out,
)

app = typer.Typer()


@app.command("witness-key")
def witness_key(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    name: Annotated[
        str, typer.Option(help="What the witness is called, as auditor.example.org.")
    ],
    as_json: Json = False,
) -> None:
    """Make the key of a witness, on the witness's own machine.

    Prints the public key, for the host's operator and for other auditors.
    """
    made = create_witness(file, name=name)
    vkey = made.key.encode()
    show({"file": str(file), "vkey": vkey}, (vkey,), as_json=as_json)


@app.command()
def cosign(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="checkpoint.txt in an export or in what `audit checkpoint` wrote."
        ),
    ],
    key: Annotated[Path, typer.Option(help="The witness's private key.")],
    log: Annotated[
        str,
        typer.Option(
            metavar="VKEY",
            help="The ledger's verifier key as it was written down at commissioning.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="A file that does not exist yet.")],
    as_json: Json = False,
) -> None:
    """Cosign a checkpoint, if it continues the last one that was cosigned.

    Runs on the witness's own machine and remembers beside the key what was signed.
    """
    check_out(out)
    done = cosign_checkpoint(checkpoint, key_path=key, log_key=log, clock=SystemClock())
    write_out(out, done.note)
    before = 0 if done.before is None else done.before.size
    value = {
        "file": str(out),
        "origin": done.head.origin,
        "size": done.head.size,
        "root": done.head.root.hex(),
        "before": before,
    }
    continued = f"continues the {before} records that were signed before"
    lines = (
        f"cosigned {done.head.size} records of {done.head.origin}",
        continued if done.before else "the first head of it that this witness signs",
        f"on the host: sallyport audit import-cosign {out} --witness VKEY",
    )
    show(value, lines, as_json=as_json)


@app.command("import-cosign")
def import_cosign(
    file: Annotated[Path, typer.Argument(help="What `audit cosign` wrote.")],
    witness: Annotated[
        str, typer.Option(metavar="VKEY", help="The witness's public key.")
    ],
    as_json: Json = False,
) -> None:
    """Keep a cosignature on the host; every later export carries it."""
    key = parse_witness_key(witness)
    data = read_input(file)
    opened = host()
    with opened.change() as connection:
        head = import_cosignature(
            connection,
            data,
            witness=key,
            log=opened.log,
            keys=opened.keys,
            now=opened.clock.now(),
            account=account_fields(),
        )
    value = {"size": head.size, "witness": key.name}
    line = f"{key.name} cosigned the first {head.size} records"
    show(value, (line,), as_json=as_json)
