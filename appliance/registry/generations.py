"""The kept generations and the order in which they were active.

Every activation, by an import or by hand, is one line of that order, and none is
ever taken away. The one before is what was active immediately before in time:
rolling back twice therefore returns to where one was. To go further back, name
the generation. All functions take a connection already in a transaction and
never commit.
"""

import datetime as dt
from collections.abc import Collection

from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.clock import rfc3339
from appliance.db.tables import ActivationRow, GenerationRow, RemovedModelRow
from appliance.registry.catalogue import (
    SELECT_GENERATION,
    Generation,
    active_generations,
    read_generations,
)
from bundleformat.digest import Sha256
from bundleformat.errors import MissingError, UsageError

_LIST = "Run: sallyport generations list"


def list_generations(connection: Connection) -> tuple[Generation, ...]:
    """Return every generation, by channel, the newest version first."""
    query = SELECT_GENERATION.order_by(
        GenerationRow.channel, GenerationRow.version.desc()
    )
    return read_generations(connection, query)


def get_generation(connection: Connection, identity: int) -> Generation:
    """Return the generation of that id.

    Raises:
        MissingError: There is none.
    """
    found = read_generations(
        connection, SELECT_GENERATION.where(GenerationRow.id == identity)
    )
    if not found:
        raise MissingError("no such generation", where=str(identity), hint=_LIST)
    return found[0]


def choose_channel(connection: Connection, wanted: str | None) -> str:
    """Return ``wanted``, or the only channel that has an active generation.

    Raises:
        MissingError: That channel, or any, has none.
        UsageError: There are several and none was named.
    """
    known = tuple(each.channel for each in active_generations(connection))
    if not known or (wanted is not None and wanted not in known):
        raise MissingError("no generation is active", where=wanted or "", hint=_LIST)
    if wanted is not None:
        return wanted
    if len(known) > 1:
        raise UsageError(
            "generations of several channels are active",
            expected=f"--channel with one of {', '.join(known)}",
        )
    return known[0]


def by_last_activation(connection: Connection, channel: str) -> tuple[int, ...]:
    """Return the ids of a channel's generations, the active one first.

    The others follow as they were active, the last one first.
    """
    newest = func.max(ActivationRow.id)
    query = (
        select(GenerationRow.id)
        .outerjoin(ActivationRow, ActivationRow.generation == GenerationRow.id)
        .where(GenerationRow.channel == channel)
        .group_by(GenerationRow.id)
        .order_by(GenerationRow.active.desc(), newest.desc(), GenerationRow.id.desc())
    )
    return tuple(connection.execute(query).scalars())


def before_active(connection: Connection, channel: str) -> Generation:
    """Return the generation that was active immediately before the active one.

    Raises:
        MissingError: There was none.
    """
    order = by_last_activation(connection, channel)
    if len(order) < 2:
        raise MissingError(
            "no other generation was ever active", where=channel, hint=_LIST
        )
    return get_generation(connection, order[1])


def mark_collected(
    connection: Connection, identities: Collection[int], *, now: dt.datetime
) -> None:
    """Note that files of these generations may be gone from now on."""
    connection.execute(
        update(GenerationRow)
        .where(GenerationRow.id.in_(identities))
        .values(collected_ts=rfc3339(now))
    )


def repair_hint(generation: int, *, channel: str, version: int) -> str:
    """Return what brings back files of a generation, whatever is active meanwhile."""
    return (
        f"Run: sallyport store repair --generation {generation} MEDIUM, with any "
        f"medium of bundle {version} of channel {channel}."
    )


def remove_model(connection: Connection, sha256: Sha256, *, now: dt.datetime) -> None:
    """Offer the model of that identity no more, whichever generation is active."""
    connection.execute(
        insert(RemovedModelRow).values(sha256=sha256, removed_ts=rfc3339(now))
    )


def restore_model(connection: Connection, sha256: Sha256) -> None:
    """Offer the model of that identity again wherever a generation delivers it."""
    connection.execute(delete(RemovedModelRow).where(RemovedModelRow.sha256 == sha256))
