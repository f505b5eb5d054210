"""The most that is captured of prompts and answers to a model, by the model's name.

By its name and not by its digest: a bundle that brings other bytes under the name
lifts nothing. All functions take a connection already in a transaction and never
commit.
"""

import datetime as dt
from collections.abc import Mapping
from typing import get_args

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from appliance.clock import rfc3339
from appliance.db.tables import ModelCaptureRow
from appliance.settings import Capture

UNLIMITED: Capture = "full"
"""What a model allows of which nothing is kept here."""


def model_captures(connection: Connection) -> Mapping[str, Capture]:
    """Return what models allow at most, those alone that allow less than all."""
    rows = connection.execute(select(ModelCaptureRow.name, ModelCaptureRow.capture))
    return {name: _level(capture) for name, capture in rows}


def _level(text: str) -> Capture:
    """Return a level by its name; one that this release does not know is the least."""
    known: tuple[Capture, ...] = get_args(Capture)
    return next((level for level in known if level == text), known[0])


def set_model_capture(
    connection: Connection, name: str, capture: Capture, *, now: dt.datetime
) -> None:
    """Keep what a model allows at most."""
    if capture == UNLIMITED:
        connection.execute(delete(ModelCaptureRow).where(ModelCaptureRow.name == name))
        return
    values = {"capture": capture, "set_ts": rfc3339(now)}
    connection.execute(
        insert(ModelCaptureRow)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
