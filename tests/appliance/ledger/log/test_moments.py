"""Records by their time: as if every record had been looked at, and few are."""

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from appliance.db.session import create_database
from appliance.ledger.log.moments import SLACK, first_from, last_before
from appliance.ledger.records.events import timestamp
from tests.support.ledgers import NOW

SECOND = dt.timedelta(seconds=1)
MOST_BEHIND_S = int(SLACK.total_seconds())

STRETCHES = st.lists(
    st.tuples(
        st.integers(-50_000, 50_000),
        st.lists(
            st.tuples(st.integers(0, 900), st.integers(0, MOST_BEHIND_S)), max_size=25
        ),
    ),
    min_size=1,
    max_size=3,
)
"""Where the clock begins after a halt; how it goes on, and how late it was read."""


KINDS = ("log.halted", "log.released")


def times_of(
    stretches: Sequence[tuple[int, Sequence[tuple[int, int]]]],
) -> tuple[list[dt.datetime], list[tuple[int, int]]]:
    """Return the times of all records, and where halts begin and end."""
    times: list[dt.datetime] = []
    halts: list[tuple[int, int]] = []
    for number, (start, steps) in enumerate(stretches):
        clock = NOW + start * SECOND
        if number:
            halts.append((len(times), len(times) + 1))
            times += [clock, clock]
        for ahead, behind in steps:
            clock += ahead * SECOND
            times.append(clock - behind * SECOND)
    return times, halts


def fill(
    connection: Connection,
    times: Sequence[dt.datetime],
    halts: Sequence[tuple[int, int]],
) -> None:
    """Insert records that say nothing but their time, and halts."""
    kinds = {seq: kind for pair in halts for seq, kind in zip(pair, KINDS, strict=True)}
    for seq, moment in enumerate(times):
        connection.execute(
            text(
                "INSERT INTO record (seq, leaf, bytes, ts, event, outcome)"
                " VALUES (:seq, zeroblob(32), x'00', :ts, :event, 'ok')"
            ),
            {"seq": seq, "ts": timestamp(moment), "event": kinds.get(seq, "x")},
        )
    for number, (halted, released) in enumerate(halts, start=1):
        place = {"number": number, "halted": halted, "released": released}
        connection.execute(
            text("INSERT INTO halt VALUES (:number, 'x', :halted, 't', NULL)"), place
        )
        connection.execute(
            text("UPDATE halt SET released_seq = :released WHERE number = :number"),
            place,
        )


@settings(max_examples=60, deadline=None)
@given(stretches=STRETCHES, wanted=st.integers(-60_000, 80_000))
def test_records_are_found_as_if_all_were_looked_at(
    tmp_path_factory: pytest.TempPathFactory,
    stretches: list[tuple[int, list[tuple[int, int]]]],
    wanted: int,
) -> None:
    times, halts = times_of(stretches)
    moment = NOW + wanted * SECOND
    engine = _database(tmp_path_factory)
    with engine.connect() as connection:
        fill(connection, times, halts)
        after = [seq for seq, each in enumerate(times) if each >= moment]
        before = [seq for seq, each in enumerate(times) if each < moment]
        assert first_from(connection, moment) == (after[0] if after else None)
        assert last_before(connection, moment) == (before[-1] if before else None)
        connection.rollback()


_MADE: dict[str, Engine] = {}


def _database(folders: pytest.TempPathFactory) -> Engine:
    """Return an empty database that all examples share; each rolls back."""
    if "engine" not in _MADE:
        _MADE["engine"] = create_database(folders.mktemp("moments") / "sallyport.db")
    return _MADE["engine"]


def test_few_rows_are_looked_at_however_many_there_are(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    engine = _database(tmp_path_factory)
    statements: list[str] = []
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *given: statements.append(given[2]),
    )
    with engine.connect() as connection:
        fill(connection, [NOW + seq * SECOND for seq in range(5_000)], [])
        statements.clear()
        assert first_from(connection, NOW + 4_000 * SECOND) == 4_000
        assert last_before(connection, NOW + 1_000 * SECOND) == 999
        # Two bisections of 5,000 numbers, and what is read at their ends.
        assert len(statements) <= 2 * (13 + 3)
        for statement in sorted(set(statements)):
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", (0,) * statement.count("?")
            ).all()
            assert not any("SCAN record" in row[3] for row in plan), plan
        connection.rollback()
