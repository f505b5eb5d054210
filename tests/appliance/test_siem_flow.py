"""The feed over a real ledger: what was left out is a record like any other."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import ledger_writer, open_host
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.writer import LedgerWriter
from appliance.settings import Settings
from appliance.siem.feed import Feed
from appliance.siem_flow import LedgerSource, render, siem_feed
from bundleformat.trust import fingerprint
from tests.support.ledgers import refusal
from tests.support.publisher import make_root, new_keys


class Collector:
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def open(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        self.got.append(message)

    def close(self) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OpenHost]:
    root = make_root(new_keys())
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    opened = open_host(home.root)
    yield opened
    opened.database.dispose()


@pytest.fixture
def ledger(host: OpenHost) -> Iterator[LedgerWriter]:
    writer = ledger_writer(host)
    yield writer
    writer.close()


def test_without_the_setting_there_is_no_feed(
    host: OpenHost, ledger: LedgerWriter
) -> None:
    assert siem_feed(host, ledger=ledger) is None


def test_with_the_setting_there_is_one(host: OpenHost, ledger: LedgerWriter) -> None:
    settings = Settings.model_validate({"siem": {"socket": "/run/siem"}})
    feed = siem_feed(dataclasses.replace(host, settings=settings), ledger=ledger)
    assert feed is not None
    assert feed.failing == ""


def test_what_the_feed_leaves_out_is_in_the_ledger_and_in_the_feed(
    host: OpenHost, ledger: LedgerWriter
) -> None:
    collector = Collector()
    feed = Feed(
        source=LedgerSource(host, ledger=ledger),
        sink=collector,
        render=render,
        place=host.home.run / "siem.next",
        backlog=2,
    )
    for _ in range(6):
        ledger.submit(refusal()).result(20)
    while feed.step():
        pass
    events = [json.loads(b"{" + m.partition(b" {")[2]) for m in collector.got]
    names = [event["metadata"]["event_code"] for event in events]
    assert names == ["llm.refused", "llm.refused", "siem.gap"]
    assert events[-1]["unmapped"] == {
        "convenience_copy_of": "records.jsonl",
        "seq": "8",
        "leaf": events[-1]["metadata"]["uid"],
        "first": "2",
        "last": "5",
        "records": 4,
    }
    assert (host.home.run / "siem.next").read_bytes() == b"9"
