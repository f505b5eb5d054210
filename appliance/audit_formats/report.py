"""One page for people: what was asked, refused and used, drawn from the records.

The page is one HTML file without a script and without anything from outside, so it
can be read on any machine, and it prints on A4: figures and charts on one sheet, the
tables on the next ones. It proves nothing.
"""

import html
import itertools
from collections import Counter
from typing import Final

from appliance.audit_formats.charts import Bar, columns_chart, number, rows_chart
from appliance.audit_formats.record import EVIDENCE, AuditRecord
from appliance.audit_formats.report_tables import TABLE_STYLE, tables
from appliance.audit_formats.survey import Latencies, Survey

MAX_COLUMNS: Final = 62
"""Most upright bars; where there are more days, they are put together."""

YEAR: Final = 4
UNITS: Final = (("day", 10), ("month", 7), ("year", YEAR))
"""What is put together, and how much of a date names it."""

MAX_ROWS: Final = 7
"""Most lying bars; what is beyond them is the last one."""

LATENCY_MS: Final = (0, 100, 316, 1_000, 3_162, 10_000, 31_623, 100_000, None)
"""Edges of the bars of latencies: edges of the survey's classes."""

STYLE: Final = """
@page{size:A4;margin:11mm}
*{box-sizing:border-box}
body{font:10pt/1.35 system-ui,sans-serif;color:#1b2733;max-width:188mm;margin:0 auto}
h1{font-size:15pt;margin:0 0 1mm}
p{margin:0 0 1.5mm;overflow-wrap:anywhere}
.warn{border:1px solid #b3541e;padding:1.5mm 2.5mm}
.key{display:grid;grid-template-columns:repeat(6,1fr);gap:2mm;margin:2mm 0}
.key div{border-top:2px solid #2f6690;padding-top:1mm}
.key b{display:block;font-size:11pt}
.key span,.small{color:#6b7785;font-size:8pt}
.charts{display:grid;grid-template-columns:1fr 1fr;gap:3mm 6mm}
svg{width:100%;height:auto;font-family:system-ui,sans-serif}
"""


def report_html(found: Survey, *, tool: str) -> str:
    """Return the page.

    Args:
        found: What the records hold.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Sallyport records</title>\n<style>{STYLE}{TABLE_STYLE}"
        "</style>\n</head>\n<body>\n"
        f"{_head(found, tool)}{_key_figures(found)}"
        f'<div class="charts">{"".join(_charts(found))}</div>\n'
        f"{tables(found.calls)}"
        "</body>\n</html>\n"
    )


def _head(found: Survey, tool: str) -> str:
    log = found.last.text("log") if found.last else ""
    return (
        "<h1>What this host was asked, and did</h1>\n"
        f"<p>Ledger {html.escape(log)}: {number(found.records)} records, "
        f"{_place(found.first)} to {_place(found.last)}.</p>\n"
        f'<p class="warn">This page was made from {EVIDENCE} for convenience and '
        f"proves nothing by itself. The proof covers {EVIDENCE} alone: check it with "
        f'verify.py. <span class="small">Written by {html.escape(tool)}.</span></p>\n'
    )


def _place(record: AuditRecord | None) -> str:
    if record is None:
        return "none"
    return html.escape(f"no. {record.seq} of {record.text('ts')[:19]}Z")


def _key_figures(found: Survey) -> str:
    tokens = found.prompt_tokens_by_day.total() + found.completion_tokens_by_day.total()
    figures = (
        (number(found.events["llm.request"]), "requests begun"),
        (number(found.refusals.total()), "refusals, by each reason"),
        (number(found.events["llm.aborted"]), "requests cut short"),
        (number(tokens), "tokens read and written"),
        (_percentiles(found.answer), "answers took at most, p50 / p95"),
        (_percentiles(found.first_token), "first token took at most, p50 / p95"),
    )
    cells = "".join(f"<div><b>{a}</b><span>{b}</span></div>" for a, b in figures)
    return f'<div class="key">{cells}</div>\n'


def _percentiles(times: Latencies) -> str:
    if not times.total:
        return "none"
    return " / ".join(_seconds(times.within_ms(share)) for share in (0.5, 0.95))


def _seconds(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "over 1000 s"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    return f"{milliseconds / 1_000:.3g} s"


def _charts(found: Survey) -> tuple[str, ...]:
    requests = _by_time(found.requests_by_day)
    tokens = _by_time(found.prompt_tokens_by_day, found.completion_tokens_by_day)
    return (
        columns_chart("Requests by " + requests[0], requests[1], series=()),
        columns_chart(
            "Tokens by " + tokens[0], tokens[1], series=("prompts", "answers")
        ),
        rows_chart("Requests by team", _by_name(found.requests_by_team)),
        rows_chart("Requests by model", _by_name(found.requests_by_model)),
        rows_chart("Refusals by policy or reason", _by_name(found.refusals)),
        columns_chart("Answers by seconds taken", _by_latency(found.answer), series=()),
    )


def _by_time(*counters: Counter[str]) -> tuple[str, list[Bar]]:
    """Return bars by day, or by month or year where days are too many."""
    days = {day for counter in counters for day in counter}
    unit, length = next(
        (unit, length)
        for unit, length in UNITS
        if length == YEAR or len({day[:length] for day in days}) <= MAX_COLUMNS
    )
    summed = [Counter[str]() for _ in counters]
    for one, whole in zip(summed, counters, strict=True):
        for day, count in whole.items():
            one[day[:length]] += count
    names = sorted({name for one in summed for name in one})
    bars = [
        Bar(name=_label(name), values=tuple(one[name] for one in summed))
        for name in names
    ]
    return unit, bars[-MAX_COLUMNS:]


def _label(name: str) -> str:
    """Return a day without its year, and anything else as it is."""
    return name[5:] if len(name) == len("2026-11-22") else name


def _by_name(counter: Counter[str]) -> list[Bar]:
    ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) > MAX_ROWS:
        rest = ranked[MAX_ROWS - 1 :]
        others = (f"{len(rest)} others", sum(count for _, count in rest))
        ranked = [*ranked[: MAX_ROWS - 1], others]
    return [Bar(name=name, values=(count,)) for name, count in ranked]


def _by_latency(times: Latencies) -> list[Bar]:
    return [
        Bar(
            name="more" if upper is None else f"≤ {upper / 1_000:.2g}",
            values=(times.between(lower or 0, upper),),
        )
        for lower, upper in itertools.pairwise(LATENCY_MS)
    ]
