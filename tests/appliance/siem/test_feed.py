"""The feed sends what is durable, in order; what it leaves out is on record first."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.errors import AuditUnavailableError
from appliance.siem.feed import BATCH, Feed


class Log:
    """A ledger in memory whose gaps are records of it, as in the real one."""

    def __init__(self, count: int) -> None:
        self.lines: list[bytes | None] = [f"{n}".encode() for n in range(count)]
        self.halted = False

    def size(self) -> int:
        return len(self.lines)

    def records(self, first: int, count: int) -> Sequence[bytes | None]:
        return self.lines[first : first + count]

    def record_gap(self, first: int, last: int) -> None:
        if self.halted:
            raise AuditUnavailableError("the ledger cannot write", actual="full")
        self.lines.append(f"gap {first}-{last}".encode())


class Collector:
    """A collector that can be away, full, or short of room for long messages."""

    def __init__(self) -> None:
        self.away = False
        self.room = 10**9
        self.longest = 10**9
        self.got: list[bytes] = []

    def open(self) -> None:
        if self.away:
            raise FileNotFoundError(errno.ENOENT, "nobody listens")

    def send(self, message: bytes) -> None:
        self.open()
        if len(message) > self.longest:
            raise OSError(errno.EMSGSIZE, "too long")
        if self.room == 0:
            raise TimeoutError
        self.room -= 1
        self.got.append(message)

    def close(self) -> None:
        pass


def _render(data: bytes, number: int, brief: bool) -> bytes:  # noqa: FBT001 - see feed.Render
    return b"%d:%s" % (number, b"-" if brief else data)


def _feed(log: Log, to: Collector, place: Path, *, backlog: int = 10_000) -> Feed:
    return Feed(source=log, sink=to, render=_render, place=place, backlog=backlog)


def _drain(feed: Feed) -> None:
    while feed.step():
        pass


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "siem.next"


def test_a_new_feed_begins_with_what_is_written_from_now_on(place: Path) -> None:
    log, to = Log(5), Collector()
    feed = _feed(log, to, place)
    _drain(feed)
    assert to.got == []
    log.lines.append(b"new")
    _drain(feed)
    assert to.got == [b"1:new"]


def test_a_feed_goes_on_where_the_one_before_it_ended(place: Path) -> None:
    log, to = Log(0), Collector()
    first = _feed(log, to, place)
    log.lines += [b"a", b"b"]
    _drain(first)
    log.lines.append(b"c")
    _drain(_feed(log, to, place))
    assert to.got == [b"1:a", b"2:b", b"1:c"]


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"x", b"9" * 40, b"99", b"\xff", b"1\n", "²".encode()]
)
def test_a_place_that_makes_no_sense_is_no_place(place: Path, text: bytes) -> None:
    place.write_bytes(text)
    log, to = Log(5), Collector()
    feed = _feed(log, to, place)
    log.lines.append(b"new")
    _drain(feed)
    assert to.got == [b"1:new"]


def test_every_record_comes_once_and_in_order_over_many_batches(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    log.lines += [b"%d" % n for n in range(3 * BATCH + 7)]
    _drain(feed)
    assert to.got == [b"%d:%d" % (n + 1, n) for n in range(3 * BATCH + 7)]


def test_a_collector_that_is_away_gets_what_it_missed(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    to.away = True
    log.lines += [b"a", b"b"]
    _drain(feed)
    assert (to.got, feed.failing) == ([], "FileNotFoundError")
    to.away = False
    _drain(feed)
    assert (to.got, feed.failing) == ([b"1:a", b"2:b"], "")


def test_a_collector_that_is_full_loses_nothing(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    log.lines += [b"a", b"b", b"c"]
    to.room = 1
    _drain(feed)
    assert (to.got, feed.failing) == ([b"1:a"], "TimeoutError")
    to.room = 9
    _drain(feed)
    assert to.got == [b"1:a", b"2:b", b"3:c"]


def test_what_is_left_out_is_on_record_before_anything_later_is_sent(
    place: Path,
) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place, backlog=3)
    to.away = True
    log.lines += [b"%d" % n for n in range(10)]
    for _ in range(5):
        _drain(feed)
    assert len(log.lines) == 10
    to.away = False
    _drain(feed)
    assert log.lines[10:] == [b"gap 0-6"]
    assert [line.partition(b":")[2] for line in to.got] == [
        *(b"7", b"8", b"9", b"gap 0-6")
    ]


def test_nothing_is_left_out_while_the_ledger_cannot_say_so(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place, backlog=3)
    log.lines += [b"%d" % n for n in range(10)]
    log.halted = True
    _drain(feed)
    assert (to.got, feed.failing) == ([], "AuditUnavailableError")
    log.halted = False
    _drain(feed)
    assert to.got[-1].endswith(b"gap 0-6")


def test_a_message_that_is_too_long_is_sent_short(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    to.longest = 20
    log.lines += [b"x" * 50, b"y"]
    _drain(feed)
    assert to.got == [b"1:-", b"2:y"]


def test_a_closed_feed_has_sent_what_was_durable(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    feed.start()
    log.lines += [b"a", b"b"]
    feed.close()
    assert to.got == [b"1:a", b"2:b"]
    _feed(log, to, place).close()


def test_a_disk_that_keeps_no_place_costs_only_repetition(tmp_path: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, tmp_path / "none" / "siem.next")
    log.lines.append(b"a")
    _drain(feed)
    assert to.got == [b"1:a"]


def test_what_was_pruned_before_it_was_sent_is_a_gap_on_record(place: Path) -> None:
    log, to = Log(0), Collector()
    feed = _feed(log, to, place)
    log.lines += [None, None, b"a", None, b"b"]
    log.halted = True
    _drain(feed)
    # Nothing is left out before the ledger says so.
    assert (to.got, feed.failing) == ([], "AuditUnavailableError")
    log.halted = False
    _drain(feed)
    sent = [b"1:a", b"2:b", b"3:gap 0-1", b"4:gap 3-3"]
    assert (to.got, feed.failing) == (sent, "")
