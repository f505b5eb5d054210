"""The tables point at records that are there, and say what they are."""

import csv
import io
from html.parser import HTMLParser

import pytest

from appliance.evidence.frameworks import FRAMEWORKS
from appliance.evidence.pack import NOTE, Place, as_csv, as_html, see, table

RECORDS = [
    ("log.created", Place(seq=0, leaf="a0", ts="2026-11-22T08:04:29.000000Z")),
    ("llm.request", Place(seq=1, leaf="a1", ts="2026-11-22T08:05:29.000000Z")),
    ("llm.request", Place(seq=7, leaf="<a7>", ts="2026-11-23T08:05:29.000000Z")),
]


def test_an_event_is_found_at_its_first_and_its_newest_record() -> None:
    seen = see(RECORDS)
    assert set(seen) == {"log.created", "llm.request"}
    asked = seen["llm.request"]
    assert (asked.count, asked.first.seq, asked.newest.seq) == (2, 1, 7)
    assert see([]) == {}


def test_a_claim_gives_number_and_leaf_and_says_where_there_is_none() -> None:
    value = table("pci", see(RECORDS), tool="sallyport/test")
    access = value["requirements"][0]
    assert access["control"] == "10.2.1.1"
    by_event = {
        found["event"]: found
        for claim in access["claims"]
        for found in claim["records"]
    }
    assert by_event["llm.request"]["newest"] == {
        "seq": "7",
        "leaf": "<a7>",
        "ts": "2026-11-23T08:05:29.000000Z",
    }
    assert by_event["llm.aborted"] == {"event": "llm.aborted", "count": 0}
    assert (value["note"], value["derived_from"]) == (NOTE, "records.jsonl")
    assert value["tests_of"] == "sallyport/test"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_is_a_table_and_a_page(name: str) -> None:
    value = table(name, see(RECORDS), tool="sallyport/test")
    rows = list(csv.DictReader(io.StringIO(as_csv(value), newline="")))
    assert {row["control"] for row in rows} == {
        each.control for each in FRAMEWORKS[name].requirements
    }
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    page = _Page()
    page.feed(as_html(value))
    assert not page.tags & {"script", "img", "link", "iframe", "a7"}
    assert not page.attributes & {"src", "href", "style", "onload"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
