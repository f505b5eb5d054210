"""Whether an act was done already by an approval; only reads."""

from sqlalchemy import Connection, Text, cast, func, select

from appliance.db.tables import RecordRow


def find_use(connection: Connection, *, event: str, ask: str) -> int | None:
    """Return the number of the first record of an act by the approval of ``ask``."""
    said = func.json_extract(cast(RecordRow.bytes_, Text), "$.approval.ask")
    return connection.execute(
        select(RecordRow.seq)
        .where(RecordRow.event == event, said == ask)
        .order_by(RecordRow.seq)
        .limit(1)
    ).scalar_one_or_none()
