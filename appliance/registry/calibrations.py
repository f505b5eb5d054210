"""What was measured of a model on a kind of host, kept by the model's digest.

The bytes mean something to ``engine/planning/measured.py`` alone. All functions
take a connection already in a transaction and never commit.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from appliance.clock import rfc3339
from appliance.db.tables import CalibrationRow
from bundleformat.digest import Sha256, parse_sha256


def calibrations(connection: Connection, *, host: str) -> Mapping[Sha256, bytes]:
    """Return what was measured on hosts of this kind, by the model's identity."""
    found = connection.execute(
        select(CalibrationRow.sha256, CalibrationRow.measured).where(
            CalibrationRow.host == host
        )
    )
    return {parse_sha256(sha256): measured for sha256, measured in found}


def keep_calibration(
    connection: Connection,
    sha256: Sha256,
    *,
    host: str,
    measured: bytes,
    now: dt.datetime,
) -> None:
    """Keep what was measured of a model; what was kept before goes."""
    values = {"measured": measured, "measured_ts": rfc3339(now)}
    connection.execute(
        insert(CalibrationRow)
        .values(sha256=sha256, host=host, **values)
        .on_conflict_do_update(index_elements=["sha256", "host"], set_=values)
    )
