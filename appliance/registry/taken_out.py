"""Which models crashed so often that their engines are not started again.

They stay in service by name, so that callers learn why they get no answer. The
serving process enters them; they leave when an operator gives them another try,
or the server is started again. All functions take a connection already in a
transaction and never commit.
"""

import datetime as dt

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from appliance.clock import rfc3339
from appliance.db.tables import TakenOutModelRow
from bundleformat.digest import Sha256, parse_sha256


def taken_out_digests(connection: Connection) -> frozenset[Sha256]:
    """Return the identities of the models that were taken out."""
    found = connection.execute(select(TakenOutModelRow.sha256)).scalars()
    return frozenset(parse_sha256(sha256) for sha256 in found)


def take_out(
    connection: Connection, sha256: Sha256, *, crashes: int, now: dt.datetime
) -> bool:
    """Enter a model; return whether it had not been entered before."""
    entered = connection.execute(
        insert(TakenOutModelRow)
        .values(sha256=sha256, taken_out_ts=rfc3339(now), crashes=crashes)
        .on_conflict_do_nothing()
    )
    return entered.rowcount == 1


def put_back(connection: Connection, sha256: Sha256) -> None:
    """Let a model have another try; one that was not taken out has it anyway."""
    connection.execute(
        delete(TakenOutModelRow).where(TakenOutModelRow.sha256 == sha256)
    )
