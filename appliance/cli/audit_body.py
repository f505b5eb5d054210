"""``sallyport audit body``: kept prompts and answers, read and erased by two people.

Reading and erasing are called twice alike: with ``--ask FILE`` they write what a second
person is to approve, and with ``--approval FILE`` they do it.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from appliance import body_erase_flow, body_finish_flow, body_read_flow
from appliance.audit_media.new_file import check_absent, write_new_file
from appliance.bodies.vault import Part
from appliance.body_erase_flow import Selection
from appliance.body_read_flow import BodyReading
from appliance.cli.approvals import (
    ApprovalFile,
    AskFile,
    ValidDays,
    asks,
    no_approval,
    show_ask,
    the_file,
)
from appliance.cli.audit_read import parse_reason, parse_when
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import note, show
from bundleformat.errors import MalformedError, UsageError

app = typer.Typer(
    help="Prompts and answers of teams that capture them: every reading and erasure "
    "is on record, and approved by a second person.",
    no_args_is_help=True,
)


@app.command()
def read(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The x-request-id of the call.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why, in your words; approved and on record as it is.")
    ],
    part: Annotated[
        Part | None,
        typer.Option(help="Only the prompt, or only the answer.", show_default=False),
    ] = None,
    ask: AskFile = None,
    approval: ApprovalFile = None,
    valid_days: ValidDays = 3,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            help="Write the bytes to this new file, for its owner alone, not to the "
            "terminal; with --part.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a kept prompt or answer, once, with a second person's approval.

    First with --ask; somebody who holds a compliance key reads that file and
    approves it with `sallyport-bundler site approve`; then the same with --approval.
    That it is read, and why, is on record before anything is shown.
    """
    why = parse_reason(reason).strip()
    if asks(ask, approval):
        _refuse_output(output)
        asked = body_read_flow.ask_to_read(
            host(),
            request_id,
            the_file(ask),
            part=part,
            reason=why,
            life=dt.timedelta(days=valid_days),
        )
        show_ask(asked, the_file(ask), about=(), as_json=as_json)
        return
    if output is not None:
        _check_output(output, part)
    envelope = read_input(the_file(approval))
    try:
        found = body_read_flow.read_bodies(
            host(), request_id, part=part, reason=why, envelope=envelope
        )
    except MalformedError as error:
        raise no_approval(error, the_file(approval)) from error
    if output is None:
        _show_bodies(found, as_json=as_json)
        return
    (body,) = found.bodies
    write_new_file(output, body.data)
    value = {"file": str(output), "size_bytes": len(body.data), "read_as": found.seq}
    show(value, (f"wrote the {body.part} to {output}",), as_json=as_json)
    note(f"this reading is record {found.seq}")


@app.command()
def erase(  # noqa: PLR0913, PLR0917 - one argument for each option
    basis: Annotated[
        str,
        typer.Option(help="On which basis, in your words; approved and on record."),
    ],
    request_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REQUEST_ID]...", help="Calls, by their x-request-id."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="<id>", help="Every call of this API key.", show_default=False
        ),
    ] = None,
    team: Annotated[
        str | None,
        typer.Option(
            metavar="<name>", help="Every call of this team.", show_default=False
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="<time>",
            help="With --team: only calls accepted before, such as 2026-11-22.",
            show_default=False,
        ),
    ] = None,
    ask: AskFile = None,
    approval: ApprovalFile = None,
    valid_days: ValidDays = 3,
    as_json: Json = False,
) -> None:
    """Destroy kept prompts and answers with their keys, for good.

    First with --ask; somebody who holds a compliance key approves that file with
    `sallyport-bundler site approve`; then the same with --approval. Calls that began
    after it was asked are not touched. Records and their proofs stay.
    """
    chosen = _selection(request_ids or [], subject, team, before)
    why = parse_reason(basis, "--basis").strip()
    if asks(ask, approval):
        asked, calls = body_erase_flow.ask_to_erase(
            host(), chosen, the_file(ask), basis=why, life=dt.timedelta(days=valid_days)
        )
        about = (f"about the bodies of {calls} calls",)
        show_ask(asked, the_file(ask), about=about, as_json=as_json)
        return
    envelope = read_input(the_file(approval))
    try:
        gone = body_erase_flow.erase_bodies(
            host(), chosen, basis=why, envelope=envelope
        )
    except MalformedError as error:
        raise no_approval(error, the_file(approval)) from error
    value = {
        "requests": list(gone.requests),
        "bodies": gone.bodies,
        "first_record": gone.first_seq,
        "last_record": gone.last_seq,
    }
    lines = (
        f"erased {gone.bodies} bodies of {len(gone.requests)} calls",
        f"records {gone.first_seq} to {gone.last_seq} say so",
    )
    show(value, lines, as_json=as_json)


@app.command()
def finish(as_json: Json = False) -> None:
    """Destroy what records say is gone, where that was cut short; see `audit status`.

    It takes no approval: the record that an approved erasure or a pruning left is the
    decision. A server does the same when it starts and while it runs.
    """
    done = body_finish_flow.finish(host())
    line = "nothing was left to be destroyed"
    if done.calls:
        line = f"destroyed what was left: {done.bodies} bodies of {done.calls} calls"
    show({"calls": done.calls, "bodies": done.bodies}, (line,), as_json=as_json)


def _refuse_output(output: Path | None) -> None:
    if output is not None:
        raise UsageError("nothing is read while it is asked for", where="--output")


def _check_output(output: Path, part: Part | None) -> None:
    if part is None:
        raise UsageError("one file holds one body", where="--output", expected="--part")
    check_absent(output)


def _selection(
    request_ids: list[str], subject: str | None, team: str | None, before: str | None
) -> Selection:
    named = [bool(request_ids), subject is not None, team is not None]
    if sum(named) != 1:
        raise UsageError(
            "not clear whose bodies",
            expected="request ids, or --subject, or --team",
        )
    if before is not None and team is None:
        raise UsageError("it narrows --team alone", where="--before")
    return Selection(
        request_ids=tuple(dict.fromkeys(request_ids)),
        key_id=subject,
        team=team,
        before=parse_when(before, "--before"),
    )


def _show_bodies(found: BodyReading, *, as_json: bool) -> None:
    value = {
        "bodies": [
            {
                "part": body.part,
                "text": body.data.decode(errors="backslashreplace"),
                "size_bytes": len(body.data),
                "record": body.seq,
                "commitment": body.commitment,
            }
            for body in found.bodies
        ],
        "read_as": found.seq,
    }
    lines = tuple(
        line
        for body in found.bodies
        for line in (
            f"{body.part}, {len(body.data)} bytes, as record {body.seq} commits to:",
            *body.data.decode(errors="backslashreplace").split("\n"),
        )
    )
    show(value, lines, as_json=as_json)
    note(f"this reading is record {found.seq}")
