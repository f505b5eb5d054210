"""The report is one page that says what the records say, and loads nothing."""

import datetime as dt
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from appliance.audit_formats.calls import OTHERS
from appliance.audit_formats.derive import read_records
from appliance.audit_formats.record import read_record
from appliance.audit_formats.report import report_html
from appliance.audit_formats.survey import (
    EDGES_MS,
    MAX_NAMES,
    Latencies,
    survey,
)
from appliance.ledger.records.events import Draft, Event, Outcome
from tests.support.audit_samples import encoded, records, write_records
from tests.support.ledgers import TOOL, refusal, request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class _Page(HTMLParser):
    """Collects what could load, run or leave."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words += data + "\n"


def _page(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    return page


def test_the_page_has_no_script_and_nothing_from_outside() -> None:
    text = report_html(survey(records()), tool=TOOL)
    page = _page(text)
    assert page.tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "p", "span"),
        *("div", "b", "svg", "text", "rect", "path", "section", "h2"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"src", "href", "xlink:href", "style", "action"}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_what_a_record_says_cannot_become_markup() -> None:
    hostile = Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.REFUSED,
        team="<script>alert(1)</script>",
        fields={"code": "\"><img/src=x/onerror='x'>", "status": 401},
    )
    asked = request("r1", team="<b>&amp;")
    text = report_html(survey(records([hostile, asked])), tool=TOOL)
    assert not _page(text).tags & {"script", "img"}
    assert "<b>&amp;amp;" not in text
    assert "&lt;b&gt;&amp;amp;" in text


def test_the_page_says_that_it_proves_nothing_and_gives_the_figures() -> None:
    words = _page(report_html(survey(records()), tool=TOOL)).words
    assert "The proof covers records.jsonl alone" in words
    assert "policy core-region" in words
    assert "unknown-key" in words
    for team in ("claims", "-dash"):
        assert team in words
    assert "9 records" in words
    assert "answers took at most, p50 / p95" in words


def test_a_page_of_no_records_is_a_page() -> None:
    words = _page(report_html(survey([]), tool=TOOL)).words
    assert words.count("none in these records") == 6


def test_refusals_that_were_not_recorded_one_by_one_are_counted() -> None:
    found = survey(records())
    # The denied request stands for itself and two that were left out.
    assert found.refusals["policy core-region"] == 3
    assert found.refusals["unknown-key"] == 1


def test_names_beyond_the_limit_are_counted_together() -> None:
    drafts = [refusal(f"code-{n}") for n in range(MAX_NAMES + 5)]
    found = survey(records(drafts[: MAX_NAMES + 5]))
    assert len(found.refusals) == MAX_NAMES + 1
    assert found.refusals[OTHERS] == 5


def test_latencies_are_told_by_the_edges_of_their_classes() -> None:
    times = Latencies()
    assert times.within_ms(0.5) is None
    for milliseconds in (0, 1, 2, 100, 101, 5_000_000):
        times.add(milliseconds)
    assert times.within_ms(0.5) == 3
    assert times.within_ms(1.0) is None
    assert times.between(0, 100) == 4
    assert times.between(100, 1_000) == 1
    assert times.between(EDGES_MS[-1], None) == 1


def test_many_days_are_put_together_by_month_and_by_year() -> None:
    for days, unit in ((1, "day"), (31, "month"), (365, "year")):
        drafts = [request(f"r{n}") for n in range(120)]
        step = dt.timedelta(days=days)
        found = survey(read_record(data) for data in encoded(drafts, day=step / 2))
        assert f"Requests by {unit}" in report_html(found, tool=TOOL)


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)
@pytest.mark.parametrize(("count", "sheets"), [(0, 1), (9, 2), (5_000, 2)])
def test_figures_and_charts_print_on_one_sheet_and_tables_on_the_next(
    tmp_path: Path, count: int, sheets: int
) -> None:
    found = survey(read_records(write_records(tmp_path, count)))
    path = tmp_path / "report.html"
    path.write_text(report_html(found, tool=TOOL), encoding="utf-8")
    printed = tmp_path / "report.pdf"
    subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer"),
            *(f"--print-to-pdf={printed}", path.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed.read_bytes())) == sheets
