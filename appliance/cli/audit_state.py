"""``sallyport audit status`` and ``release``: how the ledger is; letting it go on."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from appliance.account import account_fields, account_text
from appliance.body_finish_flow import Unfinished, find_unfinished
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show
from appliance.errors import AuditUnavailableError
from appliance.host import OpenHost
from appliance.ledger.log import status as ledger_status
from appliance.ledger.log.halt import Halt, find_halt
from appliance.ledger.log.pruned import count_pruned
from appliance.ledger.log.status import LedgerStatus
from appliance.ledger.records.causes import ADVICE
from appliance.ledger.retention.due import oldest_call
from appliance.ledger.retention.holds import open_holds
from appliance.ledger.watch.guard import State
from appliance.ledger.watch.room import Room
from appliance.release_flow import release_ledger
from bundleformat.errors import (
    FaultError,
    MalformedError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.retention import Kept


def status(as_json: Json = False) -> None:
    """Show how far the ledger goes, and whether it is OK, LOW or HALTED.

    Also which account of the operating system this is, and whether every erasure was
    carried out.
    """
    opened = host()
    found, damage = None, ""
    with opened.look() as connection:
        halt = find_halt(connection)
        kept = _kept(connection)
        try:
            found = ledger_status.status(connection)
        except AuditUnavailableError as error:
            # A halted ledger is shown all the same: somebody has to see the halt.
            if halt is None:
                raise
            damage = error.text()
    unfinished, erasures = _unfinished(opened, halted=halt is not None)
    room = _room(opened)
    state = State.OK
    if halt is not None:
        state = State.HALTED
    elif room.free_bytes < room.limit_bytes:
        state = State.LOW
    value = {
        "account": account_fields(),
        "state": str(state),
        "free_bytes": room.free_bytes,
        "low_below_bytes": room.limit_bytes,
        "ballast": opened.guard.ballast.held,
        "halt": None if halt is None else _halt_value(halt),
        "damage": damage,
        **_value(found),
        **kept,
        "unfinished_erasures": unfinished,
    }
    lines = (
        f"state          {state}",
        f"free           {room.free_bytes:,} bytes; low below {room.limit_bytes:,}",
        *(_halt_lines(halt, opened) if halt is not None else ()),
        *((f"damage         {damage}",) if damage else ()),
        *_lines(found),
        f"account        {account_text()}; roles are the operating system's accounts",
        f"pruned         {kept['pruned_records']} records",
        f"               the texts of {kept['pruned_bodies']} records",
        f"erasures       {erasures}",
        f"holds          {kept['holds']} open",
        f"oldest call    {kept['oldest_call_ts'] or 'none with its record'}",
    )
    show(value, lines, as_json=as_json)


def release(
    file: Annotated[Path, typer.Argument(help="The release, release.json.")],
    as_json: Json = False,
) -> None:
    """Let the halted ledger go on, by a release that the security officer signed.

    The officer makes it with `sallyport-bundler site release` and the values that
    `audit status` shows. It is refused as long as what halted the ledger is not over.
    """
    opened, envelope = host(), read_input(file)
    try:
        done = release_ledger(opened, envelope)
    except MalformedError as error:
        hint = "Name the file that `sallyport-bundler site release` made."
        raise error.inside(str(file)).advised(hint) from error
    except RefusalError as error:
        raise error.inside(str(file)) from error
    said = done.release
    value = {
        "halt": said.halt,
        "cause": str(said.cause),
        "reason": said.reason,
        "key_ids": list(done.key_ids),
    }
    lines = (
        f"halt {said.halt} ({said.cause}) is over: {said.reason}",
        f"signed by {', '.join(done.key_ids)}",
        "a server that is running goes on within a second",
    )
    show(value, lines, as_json=as_json)


def _kept(connection: Connection) -> dict[str, int | str | None]:
    """Return what was let go, what holds keep, and how far back calls are on record."""
    return {
        "pruned_records": count_pruned(connection, Kept.RECORD),
        "pruned_bodies": count_pruned(connection, Kept.BODY),
        "holds": len(open_holds(connection)),
        "oldest_call_ts": oldest_call(connection),
    }


_FINISH = (
    "a server destroys them within a minute, else run: sallyport audit body finish"
)
_FINISH_HALTED = "release the ledger first, then run: sallyport audit body finish"
_MEND = "see to that, then run: sallyport audit body finish"


def _unfinished(
    opened: OpenHost, *, halted: bool
) -> tuple[dict[str, str | int] | None, str]:
    """Return what is on record as gone and not known to be destroyed, in two forms.

    What cannot be found out is told as such: the rest of the status is shown.
    """
    advice = _FINISH_HALTED if halted else _FINISH
    try:
        left = find_unfinished(opened)
    except FaultError as error:
        text = f"not known whether all are carried out: {error.text()}; {_MEND}"
        return {"problem": error.text(), "next": _MEND}, text
    if left is None:
        return None, "all carried out"
    return _unfinished_value(left, advice), (
        f"the texts of {left.calls} calls are on record as gone and not all "
        f"destroyed: {advice}"
    )


def _unfinished_value(left: Unfinished, advice: str) -> dict[str, str | int]:
    return {
        "calls": left.calls,
        "first_record": left.first_seq,
        "last_record": left.last_seq,
        "next": advice,
    }


def _room(opened: OpenHost) -> Room:
    try:
        return opened.guard.room()
    except OSError as error:
        raise StorageFaultError(
            "the disk does not say how much of it is free",
            where=str(opened.home.root),
            actual=str(error.strerror),
        ) from error


def _value(found: LedgerStatus | None) -> dict[str, str | int]:
    if found is None:
        return {}
    return {
        "origin": found.origin,
        "vkey": found.vkey,
        "size": found.size,
        "root": found.root.hex(),
        "checkpoint_ts": found.ts,
        "open_requests": found.open_requests,
    }


def _lines(found: LedgerStatus | None) -> tuple[str, ...]:
    if found is None:
        return ()
    return (
        f"ledger         {found.origin}",
        f"records        {found.size}",
        f"root           {found.root.hex()}",
        f"checkpoint     {found.ts}",
        f"open requests  {found.open_requests}",
    )


def _halt_value(halt: Halt) -> dict[str, str | int | bool]:
    return {
        "number": halt.number,
        "cause": str(halt.cause),
        "halted": halt.halted,
        "recorded": halt.recorded,
        "advice": ADVICE[halt.cause],
    }


def _halt_lines(halt: Halt, opened: OpenHost) -> tuple[str, ...]:
    values = {
        "log": opened.log.origin,
        "halt": str(halt.number),
        "cause": str(halt.cause),
        "halted": halt.halted,
    }
    asked = " ".join(f"--{name} {shlex.quote(text)}" for name, text in values.items())
    return (
        f"halt           {halt.number}: {halt.cause}, since {halt.halted}",
        *(() if halt.recorded else ("               not on record yet, only marked",)),
        f"first          {ADVICE[halt.cause]}",
        "then           the security officer signs its release:",
        (
            f"               sallyport-bundler site release {asked}"
            " --key compliance.key --reason TEXT --out release.json"
        ),
        "and here       sallyport audit release release.json",
    )
