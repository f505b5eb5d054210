"""``sallyport audit hold``: what must stay although its time is over."""

import datetime as dt
from typing import Annotated, Any

import typer

from appliance import hold_flow
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
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show, table
from appliance.hold_flow import Wanted
from appliance.ledger.retention.holds import Hold, list_holds
from bundleformat.errors import MalformedError

app = typer.Typer(
    help="Legal holds: what they keep is neither pruned nor erased.",
    no_args_is_help=True,
)


def _only(help_: str) -> Any:  # noqa: ANN401 - typer's own type is private
    return typer.Option(metavar="<name>", help=help_, show_default=False)


@app.command("place")
def place_hold(
    reason: Annotated[str, typer.Option(help="Why, in your words; it is on record.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="First record: its number, a day or a moment."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Last record, in the past; without it what is still to come is held "
            "as well.",
        ),
    ] = None,
    event: Annotated[str | None, _only("Only this event, as llm.request.")] = None,
    team: Annotated[str | None, _only("Only records of this team.")] = None,
    model: Annotated[
        str | None, _only("Only requests to this model, and how they ended.")
    ] = None,
    request: Annotated[str | None, _only("Only this call, by its id.")] = None,
    as_json: Json = False,
) -> None:
    """Keep records, and the prompts and answers of their calls, whatever their age.

    Without any option but --reason everything is held. It can be lifted by two people
    alone.
    """
    wanted = Wanted(
        start=start,
        end=end,
        event=event,
        team=team,
        model=model,
        request_id=request,
    )
    hold, records = hold_flow.place_hold(
        host(), wanted, reason=parse_reason(reason).strip()
    )
    lines = (
        f"hold {hold.number} keeps {hold.held}",
        f"that is {records} records now; record {hold.placed_seq} says so",
    )
    show({**_value(hold), "records": records}, lines, as_json=as_json)


@app.command("lift")
def lift_hold(
    number: Annotated[
        int, typer.Argument(metavar="NUMBER", min=1, max=2**31 - 1, help="Which hold.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why, in your words; approved and on record as it is.")
    ],
    ask: AskFile = None,
    approval: ApprovalFile = None,
    valid_days: ValidDays = 3,
    as_json: Json = False,
) -> None:
    """End a hold, with a second person's approval.

    First with --ask; somebody who holds a compliance key reads that file and
    approves it with `sallyport-bundler site approve`; then the same with --approval.
    What only this hold kept can be pruned and erased from then on.
    """
    why = parse_reason(reason).strip()
    if asks(ask, approval):
        asked = hold_flow.ask_to_lift(
            host(),
            number,
            the_file(ask),
            reason=why,
            life=dt.timedelta(days=valid_days),
        )
        about = (f"about what hold {number} keeps: {asked.facts['keeps']}",)
        show_ask(asked, the_file(ask), about=about, as_json=as_json)
        return
    envelope = read_input(the_file(approval))
    try:
        seq = hold_flow.lift_hold(host(), number, reason=why, envelope=envelope)
    except MalformedError as error:
        raise no_approval(error, the_file(approval)) from error
    line = f"hold {number} is lifted; record {seq} says so"
    show({"hold": number, "lifted_seq": seq}, (line,), as_json=as_json)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List every hold there ever was, with what it keeps."""
    with host().look() as connection:
        holds = list_holds(connection)
    rows = tuple(
        (
            str(hold.number),
            hold.placed_ts[:19] + "Z",
            str(hold.placed_seq),
            "holds" if hold.lifted_seq is None else f"lifted by {hold.lifted_seq}",
            str(hold.held),
        )
        for hold in holds
    )
    headings = ("HOLD", "PLACED", "RECORD", "", "KEEPS")
    value = {"holds": [_value(hold) for hold in holds]}
    show(value, table(headings, rows), as_json=as_json)


def _value(hold: Hold) -> dict[str, Any]:
    return {
        "hold": hold.number,
        "keeps": hold.held.fields(),
        "placed_ts": hold.placed_ts,
        "placed_seq": hold.placed_seq,
        "lifted_seq": hold.lifted_seq,
    }
