"""The tables of a framework over one export: each claim with records and tests.

Only what lies in the export is pointed at: a record by its number and leaf hash,
which ``verify.py`` proves, and a test by its name in this release. The tables
themselves are words, and prove nothing.
"""

import csv
import html
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.evidence.claims import CLAIMS
from appliance.evidence.frameworks import FRAMEWORKS

NOTE: Final = (
    "These tables point at records and tests; they prove nothing themselves. The "
    "proof is of records.jsonl alone: check it with verify.py. Whether a site complies "
    "is for people to say."
)

COLUMNS: Final = (
    "framework",
    "control",
    "asks",
    "answered",
    "left_to_the_site",
    "claim",
    "says",
    "not_covered",
    "event",
    "records",
    "first_seq",
    "first_leaf",
    "newest_seq",
    "newest_leaf",
    "tests",
)
"""Headings of the table that a spreadsheet opens."""

STYLE: Final = """
@page{size:A4 landscape;margin:10mm}
body{font:9pt/1.35 system-ui,sans-serif;color:#1b2733}
h1{font-size:14pt;margin:0 0 1mm}
.warn{border:1px solid #b3541e;padding:1.5mm 2.5mm}
table{border-collapse:collapse;width:100%}
th,td{border-top:1px solid #d5dbe1;padding:1mm 2mm;text-align:left;vertical-align:top}
code{font-size:8pt;overflow-wrap:anywhere}
.small{color:#6b7785;font-size:8pt}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a record is found, and proven."""

    seq: int
    leaf: str
    ts: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The records of one event in an export."""

    count: int
    first: Place
    newest: Place


def see(records: Iterable[tuple[str, Place]]) -> dict[str, Seen]:
    """Return what ``records``, each with its event, hold of every event."""
    found: dict[str, Seen] = {}
    for event, place in records:
        before = found.get(event)
        found[event] = Seen(
            count=before.count + 1 if before else 1,
            first=before.first if before else place,
            newest=place,
        )
    return found


def table(name: str, seen: Mapping[str, Seen], *, tool: str) -> dict[str, Any]:
    """Return everything that the tables of a framework say.

    Args:
        name: The framework.
        seen: What the export holds.
        tool: Name and version of this program, whose tests are meant.
    """
    framework = FRAMEWORKS[name]
    return {
        "v": 1,
        "framework": name,
        "title": framework.title,
        "note": NOTE,
        "derived_from": "records.jsonl",
        "tests_of": tool,
        "requirements": [
            {
                "control": each.control,
                "asks": each.asks,
                "answered": each.answered,
                "left_to_the_site": each.left,
                "claims": [_claim(claim, seen) for claim in each.claims],
            }
            for each in framework.requirements
        ],
    }


def as_json(value: Mapping[str, Any]) -> str:
    """Return the tables for a program."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def as_csv(value: Mapping[str, Any]) -> str:
    """Return the tables for a spreadsheet: one row for each event of each claim."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(value))
    return file.getvalue()


def as_html(value: Mapping[str, Any]) -> str:
    """Return the tables for people, on one page that loads nothing."""
    rows = "".join(
        "<tr>"
        f"<td><b>{html.escape(each['control'])}</b><br>{html.escape(each['asks'])}</td>"
        f"<td>{html.escape(each['answered'])}</td>"
        f"<td>{''.join(_claim_html(claim) for claim in each['claims'])}</td>"
        f"<td>{html.escape(each['left_to_the_site'])}</td></tr>\n"
        for each in value["requirements"]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(value['title'])}</title>\n<style>{STYLE}</style>\n"
        f"</head>\n<body>\n<h1>{html.escape(value['title'])}</h1>\n"
        f'<p class="warn">{html.escape(NOTE)} Tests are those of '
        f"{html.escape(value['tests_of'])}.</p>\n<table>\n"
        "<tr><th>Asked</th><th>Answered</th><th>What this appliance does</th>"
        "<th>Left to the site, or not done</th></tr>\n"
        f"{rows}</table>\n</body>\n</html>\n"
    )


def _claim(name: str, seen: Mapping[str, Seen]) -> dict[str, Any]:
    claim = CLAIMS[name]
    return {
        "claim": name,
        "says": claim.says,
        "not_covered": claim.not_covered,
        "records": [_records(event, seen.get(event)) for event in claim.events],
        "tests": list(claim.tests),
    }


def _records(event: str, seen: Seen | None) -> dict[str, Any]:
    if seen is None:
        return {"event": event, "count": 0}
    return {
        "event": event,
        "count": seen.count,
        "first": _place(seen.first),
        "newest": _place(seen.newest),
    }


def _place(place: Place) -> dict[str, str]:
    return {"seq": str(place.seq), "leaf": place.leaf, "ts": place.ts}


def _rows(value: Mapping[str, Any]) -> Iterator[list[str]]:
    for each in value["requirements"]:
        asked = [
            value["framework"],
            each["control"],
            each["asks"],
            each["answered"],
            each["left_to_the_site"],
        ]
        if not each["claims"]:
            yield [*asked, *([""] * (len(COLUMNS) - len(asked)))]
        for claim in each["claims"]:
            said = [claim["claim"], claim["says"], claim["not_covered"]]
            for found in claim["records"] or [{"event": "", "count": ""}]:
                first, newest = found.get("first", {}), found.get("newest", {})
                yield [
                    *asked,
                    *said,
                    found["event"],
                    str(found["count"]),
                    first.get("seq", ""),
                    first.get("leaf", ""),
                    newest.get("seq", ""),
                    newest.get("leaf", ""),
                    " ".join(claim["tests"]),
                ]


def _claim_html(claim: Mapping[str, Any]) -> str:
    gap = claim["not_covered"]
    return (
        f"<p>{html.escape(claim['says'])}"
        + (f' <span class="small">Not: {html.escape(gap)}</span>' if gap else "")
        + "<br>"
        + "<br>".join(_records_html(found) for found in claim["records"])
        + "".join(f"<br><code>{html.escape(test)}</code>" for test in claim["tests"])
        + "</p>"
    )


def _records_html(found: Mapping[str, Any]) -> str:
    event = html.escape(found["event"])
    if not found["count"]:
        return f"<code>{event}</code>: none in these records"
    newest = found["newest"]
    return (
        f"<code>{event}</code>: {found['count']}, the newest no. "
        f"{html.escape(newest['seq'])} of {html.escape(newest['ts'][:19])}Z, leaf "
        f"<code>{html.escape(newest['leaf'])}</code>"
    )
