"""``sallyport audit body``: kept prompts and answers, read and erased by two people.

Each command is called twice alike: with ``--ask FILE`` it writes what a second person
is to approve, and with ``--approval FILE`` it does it.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from appliance import body_erase_flow, body_read_flow
from appliance.audit_media.new_file import check_absent, write_new_file
from appliance.bodies.vault import Part
from appliance.body_erase_flow import Selection
from appliance.body_read_flow import BodyReading
from appliance.cli.audit_read import parse_reason, parse_when
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import note, show
from appliance.clock import rfc3339
from bundleformat.approval import Ask
from bundleformat.errors import MalformedError, RefusalError, UsageError

app = typer.Typer(
    help="Prompts and answers of teams that capture them: every reading and erasure "
    "is on record, and approved by a second person.",
    no_args_is_help=True,
)

AskFile = Annotated[
    Path | None,
    typer.Option(
        "--ask",
        metavar="<path>",
        help="Write what is to be approved to this new file, and do nothing else.",
        show_default=False,
    ),
]
ApprovalFile = Annotated[
    Path | None,
    typer.Option(
        "--approval",
        metavar="<path>",
        help="The approval that `sallyport-bundler site approve` made of it.",
        show_default=False,
    ),
]
ValidDays = Annotated[
    int,
    typer.Option(min=1, max=30, help="With --ask: days that an approval is of use."),
]


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
    if _asks(ask, approval):
        _refuse_output(output)
        asked = body_read_flow.ask_to_read(
            host(),
            request_id,
            _file(ask),
            part=part,
            reason=why,
            life=dt.timedelta(days=valid_days),
        )
        _show_ask(asked, _file(ask), about=(), as_json=as_json)
        return
    if output is not None:
        _check_output(output, part)
    envelope = read_input(_file(approval))
    try:
        found = body_read_flow.read_bodies(
            host(), request_id, part=part, reason=why, envelope=envelope
        )
    except MalformedError as error:
        raise _no_approval(error, _file(approval)) from error
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
    if _asks(ask, approval):
        asked, calls = body_erase_flow.ask_to_erase(
            host(), chosen, _file(ask), basis=why, life=dt.timedelta(days=valid_days)
        )
        about = (f"about the bodies of {calls} calls",)
        _show_ask(asked, _file(ask), about=about, as_json=as_json)
        return
    envelope = read_input(_file(approval))
    try:
        gone = body_erase_flow.erase_bodies(
            host(), chosen, basis=why, envelope=envelope
        )
    except MalformedError as error:
        raise _no_approval(error, _file(approval)) from error
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


def _asks(ask: Path | None, approval: Path | None) -> bool:
    """Return whether it is only asked for; else it is done."""
    if (ask is None) == (approval is None):
        raise UsageError(
            "this takes two people",
            where="--ask",
            expected="--ask FILE first, then the same with --approval FILE",
        )
    return ask is not None


def _file(path: Path | None) -> Path:
    if path is None:
        raise ValueError("one of two options was checked to be there")
    return path


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


def _no_approval(error: MalformedError, path: Path) -> RefusalError:
    hint = "Name the file that `sallyport-bundler site approve` made."
    return error.inside(str(path)).advised(hint)


def _show_ask(asked: Ask, path: Path, *, about: tuple[str, ...], as_json: bool) -> None:
    value = {
        "file": str(path),
        "ask": asked.nonce,
        "act": str(asked.act),
        "values": dict(asked.values),
        "facts": dict(asked.facts),
        "expires": rfc3339(asked.expires),
    }
    lines = (
        f"wrote {path}, which asks for {asked.act} until {rfc3339(asked.expires)}",
        *about,
        "the compliance officer, on another machine:",
        (
            f"  sallyport-bundler site approve {path.name} --key compliance.key"
            " --out approval.json"
        ),
        "and here, the same command with --approval approval.json",
    )
    show(value, lines, as_json=as_json)


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
