"""A ledger with calls whose time is over, and letting them go."""

import datetime as dt
import json
from typing import Any

from sqlalchemy import text

from appliance.ledger.records.fields import JSON
from appliance.ledger.retention.holds import Held, Hold, place
from appliance.ledger.retention.pruning import Order, prune_batch
from bundleformat.retention import Kept
from tests.support.ledgers import NOW, SHA, TOOL, Ledger, refusal, request, response

LATER = NOW + dt.timedelta(days=400)
"""When the calls of ``fill`` are older than a year."""

SAID: dict[str, JSON] = {"operator_uid": 1000, "tool": TOOL}


def order(kept: Kept = Kept.RECORD, *, days: int = 366) -> Order:
    """Return what a certificate with the preset pci orders at ``LATER``."""
    return Order(
        kept=kept,
        before=LATER - dt.timedelta(days=days),
        days=days,
        presets=("pci",),
        certificate_sha256=SHA,
        said=SAID,
    )


def fill(ledger: Ledger) -> None:
    """Append three calls of two teams, a refusal and another key; one call is open.

    They are records 1 and 2, 3 and 5, 6, and 4; the key is named by record 7.
    """
    ledger.append([request("r1"), response("r1", parent=1)])
    ledger.append([request("r2", team="others")])
    ledger.append([refusal()])
    ledger.append([response("r2", parent=3, team="others"), request("open")])
    ledger.rotate()


def prune(ledger: Ledger, **limits: int) -> int:
    """Let one batch go at ``LATER``."""
    with ledger.engine.begin() as connection:
        gone = prune_batch(
            connection, order(), log=ledger.log, keys=ledger.keys, now=LATER, **limits
        )
    return sum(last - first + 1 for first, last in gone)


def hold(ledger: Ledger, **held: Any) -> Hold:
    """Place a hold at ``LATER``."""
    with ledger.engine.begin() as connection:
        return place(
            connection,
            Held(**held),
            said={"reason": "a claim", **SAID},
            log=ledger.log,
            keys=ledger.keys,
            now=LATER,
        )


def gone(ledger: Ledger) -> list[int]:
    """Return the numbers of the records that have no bytes."""
    with ledger.engine.connect() as connection:
        found = connection.execute(
            text("SELECT seq FROM record WHERE bytes IS NULL ORDER BY seq")
        )
        return list(found.scalars())


def said(ledger: Ledger, event: str) -> list[dict[str, Any]]:
    """Return what the records of an event say."""
    with ledger.engine.connect() as connection:
        found = connection.execute(
            text("SELECT bytes FROM record WHERE event = :event ORDER BY seq"),
            {"event": event},
        )
        return [json.loads(data) for data in found.scalars()]
