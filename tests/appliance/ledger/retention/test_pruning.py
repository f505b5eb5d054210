"""What may go and what stays; the tree is as good as before, whoever is killed."""

import dataclasses

import pytest
from sqlalchemy import Engine, event, text

from appliance.db.session import open_database
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.append import append
from appliance.ledger.log.consistency import check_held
from appliance.ledger.log.head import read_checkpoint
from appliance.ledger.log.objects import check_objects
from appliance.ledger.log.pruned import read_pruned
from appliance.ledger.records.events import Draft, timestamp
from appliance.ledger.records.fields import JSON
from appliance.ledger.recover import fsck
from appliance.ledger.retention.due import find_due, oldest_call
from appliance.ledger.retention.pruning import prune_batch, ranges_of
from appliance.ledger.tree.note import decode_note, parse_checkpoint
from appliance.ledger.watch.halting import Signing, mark, record_halt
from bundleformat.errors import DigestMismatchError, Error, MissingError
from bundleformat.ledger_release import Cause
from bundleformat.retention import Kept
from tests.support.killing import Countdown, in_child
from tests.support.ledgers import NOW, Ledger, request, response
from tests.support.retention import LATER, fill, gone, hold, order, prune, said

CALLS = [1, 2, 3, 4, 5]
"""The records of ``fill`` that are of calls which ended, or were refused."""


def append_late(ledger: Ledger, *drafts: Draft) -> None:
    with ledger.engine.begin() as connection:
        append(connection, drafts, log=ledger.log, keys=ledger.keys, now=LATER)


def test_nothing_goes_whose_time_is_not_over(ledger: Ledger) -> None:
    fill(ledger)
    with ledger.engine.begin() as connection:
        early = prune_batch(
            connection,
            order(days=401),
            log=ledger.log,
            keys=ledger.keys,
            now=LATER,
        )
    assert (early, gone(ledger), said(ledger, "log.pruned")) == ((), [], [])


def test_a_halted_ledger_lets_nothing_go(ledger: Ledger) -> None:
    fill(ledger)
    error = AuditUnavailableError("x", cause=Cause.IO_ERROR, details={"error": "x"})
    with ledger.engine.begin() as connection:
        signing = Signing(log=ledger.log, keys=ledger.keys)
        record_halt(connection, mark(error, now=NOW), signing=signing, now=NOW)
    with pytest.raises(AuditUnavailableError):
        prune(ledger)
    assert gone(ledger) == []


def test_calls_go_and_what_later_proofs_need_stays(ledger: Ledger) -> None:
    fill(ledger)
    assert prune(ledger) == len(CALLS)
    # The open call, the key's change and everything else are still there.
    assert gone(ledger) == CALLS
    assert prune(ledger) == 0


def test_what_went_is_on_record_with_who_asked_for_it(ledger: Ledger) -> None:
    fill(ledger)
    prune(ledger)
    (record,) = said(ledger, "log.pruned")
    assert record["ranges"] == ["1-5"]
    assert (record["kind"], record["records"]) == ("record", 5)
    assert (record["presets"], record["days"]) == (["pci"], 366)
    assert record["before"] == "2026-12-26T08:04:29.123456Z"
    assert record["operator_uid"] == 1000


def test_a_call_goes_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    ledger.append([request("long")])
    append_late(ledger, response("long", parent=1))
    assert prune(ledger) == 0


def test_a_call_stays_as_long_as_its_kept_text(ledger: Ledger) -> None:
    body: dict[str, JSON] = {
        "capture": "full",
        "commitment": "ab" * 32,
        "size_bytes": 3,
    }
    asked = request("kept")
    kept = dataclasses.replace(asked, fields={**asked.fields, "body": body})
    ledger.append([kept, response("kept", parent=1)])
    assert prune(ledger) == 0


def test_everything_proves_what_it_did_before(ledger: Ledger) -> None:
    fill(ledger)
    with ledger.engine.connect() as connection:
        before = read_checkpoint(connection, size=7)
        rows = connection.execute(
            text("SELECT seq, leaf, ts, event, outcome, team, request_id FROM record")
        ).all()
    prune(ledger)
    with ledger.engine.connect() as connection:
        report = fsck(connection, log=ledger.log)
        after = connection.execute(
            text("SELECT seq, leaf, ts, event, outcome, team, request_id FROM record")
        ).all()
        assert before is not None
        assert read_checkpoint(connection, size=7) == before
        held = parse_checkpoint(decode_note(before[1].encode()).text)
        check_held(connection, held, where="held")
        check_objects(connection)
    assert (report.records, report.pruned) == (9, 5)
    assert after[: len(rows)] == rows


def test_batches_are_bounded_in_records_and_in_ranges(ledger: Ledger) -> None:
    fill(ledger)
    assert prune(ledger, most=2) == 2
    hold(ledger, team="others")
    ledger.append(
        [request("r3", team="others"), response("r3", parent=1, team="others")]
    )
    for name in ("r4", "r5"):
        ledger.append([request(name), request(f"{name}-open", team="others")])
        ledger.append([response(name, parent=1)])
    assert prune(ledger, most_ranges=1) == 1
    total = 3
    while batch := prune(ledger, most_ranges=1):
        total += batch
    assert total == len(gone(ledger)) == 7
    assert len(said(ledger, "log.pruned")) == 5
    with ledger.engine.connect() as connection:
        assert fsck(connection, log=ledger.log).pruned == 7


def test_a_batch_begins_after_the_last(ledger: Ledger) -> None:
    fill(ledger)
    assert prune(ledger, after=3) == 2
    assert gone(ledger) == [4, 5]


def test_what_is_due_is_counted_as_it_goes(ledger: Ledger) -> None:
    fill(ledger)
    kept = hold(ledger, team="others")
    with ledger.engine.connect() as connection:
        due = find_due(connection, Kept.RECORD, order().before)
    assert (due.records, due.first, due.last) == (3, 1, 4)
    assert due.held == {kept.number: 2}
    assert prune(ledger) == due.records


def test_the_oldest_call_is_the_oldest_that_has_its_bytes(ledger: Ledger) -> None:
    ledger.append([request("old"), response("old", parent=1)])
    append_late(ledger, request("new"))
    seen = []
    for _ in range(2):
        with ledger.engine.connect() as connection:
            seen.append(oldest_call(connection))
        prune(ledger)
    assert seen == [timestamp(NOW), timestamp(LATER)]


def test_numbers_become_ranges() -> None:
    assert ranges_of([]) == []
    assert ranges_of([3]) == [(3, 3)]
    assert ranges_of([0, 1, 2, 4, 6, 7]) == [(0, 2), (4, 4), (6, 7)]


def test_who_let_a_record_go_is_found_by_its_number(ledger: Ledger) -> None:
    fill(ledger)
    prune(ledger, most=2)
    prune(ledger)
    with ledger.engine.connect() as connection:
        pruned = read_pruned(connection)
    assert [pruned.by(seq) for seq in range(7)] == [None, 8, 8, 9, 9, 9, None]
    assert (pruned.records, list(map(str, pruned))) == (5, ["1-2", "3-5"])


@pytest.mark.parametrize(
    ("change", "error", "where"),
    [
        (
            "UPDATE record SET bytes = NULL WHERE seq = 6",
            DigestMismatchError,
            "record",
        ),
        ("UPDATE record SET bytes = NULL WHERE seq = 0", MissingError, "record 0"),
        ("UPDATE record SET bytes = NULL WHERE seq = 8", MissingError, "record 8"),
        (
            "UPDATE record SET bytes = x'7b7d' WHERE seq = 1",
            DigestMismatchError,
            "record 1",
        ),
        ("DELETE FROM prune_range", DigestMismatchError, "prune_range"),
        (
            "UPDATE prune_range SET last_seq = 6",
            DigestMismatchError,
            "prune_range",
        ),
        ("DELETE FROM hold", DigestMismatchError, "hold"),
        ("UPDATE hold SET team = 'claims'", DigestMismatchError, "hold"),
        ("UPDATE hold SET lifted_seq = 8", DigestMismatchError, "hold"),
    ],
)
def test_fsck_finds_what_was_let_go_around_the_triggers(
    ledger: Ledger, change: str, error: type[Error], where: str
) -> None:
    fill(ledger)
    prune(ledger)
    hold(ledger, team="nobody")
    with ledger.engine.begin() as connection:
        for trigger in (
            *("record_no_update", "prune_range_no_update", "prune_range_no_delete"),
            *("hold_no_delete", "hold_lift_only"),
        ):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text(change))
    with ledger.engine.connect() as connection, pytest.raises(error) as caught:
        fsck(connection, log=ledger.log)
    assert caught.value.where == where


def test_killed_at_any_statement_nothing_is_half(ledger: Ledger) -> None:
    fill(ledger)
    ledger.engine.dispose()
    path = ledger.home / "sallyport.db"

    def deed(points: int) -> int:
        engine = open_database(path)
        countdown = Countdown(points)
        event.listen(engine, "before_cursor_execute", countdown.pass_point)
        event.listen(engine, "commit", countdown.pass_point)
        _prune(engine, ledger)
        return 0

    seen = set()
    for points in range(60):
        status = in_child(lambda points=points: deed(points))  # type: ignore[misc]
        seen.add(tuple(gone(ledger)))
        with ledger.engine.connect() as connection:
            report = fsck(connection, log=ledger.log)
        assert report.pruned == len(gone(ledger))
        assert len(said(ledger, "log.pruned")) == (1 if report.pruned else 0)
        ledger.engine.dispose()
        if status == 0:
            break
    assert status == 0
    assert points > 8
    assert seen == {(), tuple(CALLS)}


def _prune(engine: Engine, ledger: Ledger) -> None:
    with engine.begin() as connection:
        prune_batch(connection, order(), log=ledger.log, keys=ledger.keys, now=LATER)
