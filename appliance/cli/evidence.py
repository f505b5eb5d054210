"""``sallyport evidence``: an export that says where a framework's answers are."""

from pathlib import Path
from typing import Annotated

import typer

from appliance import evidence_flow
from appliance.cli.exports import (
    Formats,
    Iso,
    Recipient,
    Tar,
    export_lines,
    export_value,
    form_of,
)
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.evidence.frameworks import FRAMEWORKS, check_names

app = typer.Typer(
    help="Where an auditor finds what a framework asks for.", no_args_is_help=True
)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the frameworks, and how many of their requirements are answered."""
    rows = []
    for name, framework in FRAMEWORKS.items():
        said = [each.answered for each in framework.requirements]
        numbers = tuple(str(said.count(word)) for word in ("yes", "in part", "no"))
        rows.append((name, *numbers, framework.title))
    names = ("framework", "yes", "in_part", "no", "title")
    value = {"frameworks": [dict(zip(names, row, strict=True)) for row in rows]}
    headings = ("FRAMEWORK", "YES", "IN PART", "NO", "TITLE")
    show(value, table(headings, tuple(rows)), as_json=as_json)


@app.command()
def pack(
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    framework: Annotated[
        list[str],
        typer.Option(
            metavar="<name>", help="As `evidence list` has it; may be repeated."
        ),
    ],
    formats: Formats = "jsonl",
    tar: Tar = False,
    iso: Iso = False,
    recipient: Recipient = None,
    as_json: Json = False,
) -> None:
    """Write an export with tables of what a framework asks, does and leaves open.

    Each claim names records of this ledger by number and leaf hash, and tests of this
    release. verify.py proves the records; the tables are words.
    """
    form = form_of(formats, tar=tar, iso=iso, recipient=recipient)
    names = check_names(framework)
    made = evidence_flow.pack_evidence(host(), out, names, form=form)
    tables = evidence_flow.file_names(names)
    value = export_value(made, form=form)
    value["derived"] = [*value["derived"], *tables]
    lines = (f"tables {', '.join(tables)}", *export_lines(made, form=form))
    show(value, lines, as_json=as_json)
