"""``sallyport audit export``: what leaves the host for an auditor."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from appliance.audit_flow import Asked, Form, export_ledger
from appliance.body_export_flow import ask_to_export, export_bodies
from appliance.cli.approvals import (
    ApprovalFile,
    AskFile,
    ValidDays,
    asks,
    no_approval,
    show_ask,
    the_file,
)
from appliance.cli.audit_read import parse_reason
from appliance.cli.exports import (
    Formats,
    Iso,
    Recipient,
    Tar,
    export_lines,
    export_value,
    form_of,
    held_files,
)
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show
from appliance.ledger.exports.export import Export
from appliance.ledger.exports.redaction import Redaction, parse_redaction
from bundleformat.errors import MalformedError, UsageError


def export(  # noqa: PLR0913, PLR0917 - one parameter per option
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder that does not exist yet; a file with --tar, --iso or "
            "--recipient.",
            show_default=False,
        ),
    ] = None,
    formats: Formats = "jsonl",
    tar: Tar = False,
    iso: Iso = False,
    recipient: Recipient = None,
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
    redact: Annotated[
        str,
        typer.Option(
            metavar="<level>",
            help="How much is told: digest gives records as they are; metadata "
            "withholds them behind their hashes and lists pseudonyms; full gives kept "
            "prompts and answers as well, encrypted and by a second person's leave.",
        ),
    ] = str(Redaction.DIGEST),
    reason: Annotated[
        str | None,
        typer.Option(
            help="With full: why, in your words; approved and on record as it is.",
            show_default=False,
        ),
    ] = None,
    ask: AskFile = None,
    approval: ApprovalFile = None,
    valid_days: ValidDays = 3,
    as_json: Json = False,
) -> None:
    """Write the ledger and a stand-alone verifier to a folder for the auditor.

    records.jsonl is the evidence; other formats are made from it for convenience.
    Of records that were not asked for only hashes are written, one for each within
    the range, so that nobody can say less was left out than was.
    """
    form = form_of(formats, tar=tar, iso=iso, recipient=recipient)
    asked = Asked(
        start=start,
        end=end,
        event=event,
        team=team,
        model=model,
        since=held_files(since),
        redaction=parse_redaction(redact),
    )
    if asked.redaction is not Redaction.FULL:
        _refuse_leave(reason, ask, approval)
        made = export_ledger(host(), _named(out), form=form, asked=asked)
    elif asks(ask, approval):
        _ask(
            asked, form, the_file(ask), reason=reason, days=valid_days, as_json=as_json
        )
        return
    else:
        envelope = the_file(approval)
        made = _export_bodies(asked, form, _named(out), envelope, reason=reason)
    value = export_value(made, form=form)
    show(value, export_lines(made, form=form), as_json=as_json)


def _ask(
    asked: Asked,
    form: Form,
    file: Path,
    *,
    reason: str | None,
    days: int,
    as_json: bool,
) -> None:
    if form.recipient is None:
        raise UsageError(
            "prompts and answers leave the host for one auditor only",
            where="--recipient",
            hint="Name the auditor's public key.",
        )
    wanted = ask_to_export(
        host(),
        file,
        asked=asked,
        recipient=form.recipient,
        reason=_why(reason),
        life=dt.timedelta(days=days),
    )
    about = (f"about {wanted.facts['bodies']} bodies",)
    show_ask(wanted, file, about=about, as_json=as_json)


def _export_bodies(
    asked: Asked, form: Form, out: Path, approval: Path, *, reason: str | None
) -> Export:
    envelope = read_input(approval)
    try:
        return export_bodies(
            host(),
            out,
            asked=asked,
            form=form,
            reason=_why(reason),
            envelope=envelope,
        )
    except MalformedError as error:
        raise no_approval(error, approval) from error


def _why(reason: str | None) -> str:
    if reason is None:
        raise UsageError(
            "a reason is wanted for prompts and answers",
            where="--reason",
            hint="Give it in your words; it is approved and on record as it is.",
        )
    return parse_reason(reason).strip()


def _named(out: Path | None) -> Path:
    if out is None:
        raise UsageError(
            "nothing says where to", where="--out", hint="Name a new folder or file."
        )
    return out


def _refuse_leave(reason: str | None, *files: Path | None) -> None:
    if reason is not None or any(files):
        raise UsageError(
            "leave is asked for prompts and answers alone",
            where="--reason, --ask, --approval",
            expected="--redact full",
        )
