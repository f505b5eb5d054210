"""A channel's trust state and floor as rows of the host's database.

The rows are TUF's metadata files, byte for byte, so that what was verified is
what is kept. The floor is kept apart from them on purpose: should the files be
lost or put back to an older state, the floor still refuses what is older.
Functions take a connection in a transaction and do not commit.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from appliance.clock import rfc3339
from appliance.db.tables import TrustFileRow, TrustFloorRow
from bundleformat.errors import MissingError, UsageError
from bundleformat.trust import (
    ComplianceKeys,
    TrustFloor,
    TrustState,
    compliance_of,
)

HINT = "Run: sallyport trust init --root FILE --fingerprint HEX"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelTrust:
    """What this host holds of one channel. The floor is None until an import."""

    channel: str
    state: TrustState
    floor: TrustFloor | None


def channels(connection: Connection) -> tuple[str, ...]:
    """Return the channels this host trusts, in order."""
    query = select(TrustFileRow.channel).distinct().order_by(TrustFileRow.channel)
    return tuple(connection.execute(query).scalars())


def choose_channel(connection: Connection, wanted: str | None) -> str:
    """Return ``wanted``, or the only channel there is.

    Raises:
        MissingError: That channel, or any, was never given a trust root.
        UsageError: There are several and none was named.
    """
    known = channels(connection)
    if not known:
        raise MissingError("this host has no trust root", hint=HINT)
    if wanted is None and len(known) > 1:
        raise UsageError(
            "this host trusts several channels",
            expected=f"--channel with one of {', '.join(known)}",
        )
    chosen = known[0] if wanted is None else wanted
    if chosen not in known:
        raise MissingError("no trust root for this channel", where=chosen, hint=HINT)
    return chosen


def load(connection: Connection, channel: str) -> ChannelTrust:
    """Return what this host holds of ``channel``.

    Raises:
        MissingError: It has no trust root for that channel.
    """
    files = connection.execute(
        select(TrustFileRow.name, TrustFileRow.bytes_)
        .where(TrustFileRow.channel == channel)
        .order_by(TrustFileRow.name)
    )
    state = TrustState(files=tuple((row.name, row.bytes) for row in files))
    if not state.files:
        raise MissingError("no trust root for this channel", where=channel, hint=HINT)
    return ChannelTrust(
        channel=channel, state=state, floor=load_floor(connection, channel)
    )


def load_floor(connection: Connection, channel: str) -> TrustFloor | None:
    """Return the floor of ``channel``, also where its trust state is gone."""
    row = connection.execute(
        select(
            TrustFloorRow.root_version,
            TrustFloorRow.bundle_version,
            TrustFloorRow.time_floor,
        ).where(TrustFloorRow.channel == channel)
    ).one_or_none()
    if row is None:
        return None
    return TrustFloor(
        root_version=row.root_version,
        bundle_version=row.bundle_version,
        time_floor=dt.datetime.fromisoformat(row.time_floor),
    )


def save(
    connection: Connection,
    *,
    channel: str,
    state: TrustState,
    floor: TrustFloor | None,
) -> None:
    """Replace what this host holds of ``channel``.

    The caller MUST have verified everything that ``state`` vouches for.
    """
    connection.execute(delete(TrustFileRow).where(TrustFileRow.channel == channel))
    connection.execute(
        insert(TrustFileRow),
        [
            {"channel": channel, "name": name, "bytes": data}
            for name, data in state.files
        ],
    )
    if floor is not None:
        connection.execute(
            delete(TrustFloorRow).where(TrustFloorRow.channel == channel)
        )
        connection.execute(
            insert(TrustFloorRow).values(
                channel=channel,
                root_version=floor.root_version,
                bundle_version=floor.bundle_version,
                time_floor=rfc3339(floor.time_floor),
            )
        )


def all_compliance_keys(connection: Connection) -> tuple[ComplianceKeys, ...]:
    """Return the keys that may sign site certificates, by channel; none is empty."""
    found = (
        compliance_of(load(connection, channel).state)
        for channel in channels(connection)
    )
    return tuple(channel for channel in found if channel.keys)
