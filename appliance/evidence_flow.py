"""Makes an evidence pack: an export with tables of where a framework is answered."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.audit_flow import Form, export_ledger
from appliance.audit_formats.derive import read_records
from appliance.evidence.frameworks import check_names
from appliance.evidence.pack import Place, as_csv, as_html, as_json, see, table
from appliance.host import OpenHost, tool_name
from appliance.ledger.exports.export import Export
from appliance.ledger.records.catalogue import CATALOGUE

EVENTS = "events.json"
"""The file that lists every kind of record of this release."""


def pack_evidence(
    host: OpenHost,
    out: Path,
    names: Sequence[str],
    *,
    form: Form,
) -> Export:
    """Write an export to the new ``out`` with the tables of these frameworks.

    Raises:
        UsageError: There is no such framework.
        ConflictError, MissingError, DigestMismatchError, AuditUnavailableError,
        StorageFaultError: As ``audit_flow.export_ledger``.
    """
    chosen = check_names(names)

    def more(folder: Path) -> Iterator[str]:
        return _tables(folder, chosen)

    return export_ledger(host, out, form=form, more=more)


def file_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return what the tables of these frameworks are called."""
    endings = ("json", "csv", "html")
    return (EVENTS, *(f"evidence-{n}.{end}" for n in names for end in endings))


def _tables(folder: Path, names: Sequence[str]) -> Iterator[str]:
    seen = see(
        (
            each.text("event"),
            Place(seq=each.seq, leaf=each.leaf, ts=each.text("ts")),
        )
        for each in read_records(folder)
    )
    yield _write(folder / EVENTS, _catalogue())
    for name in names:
        value = table(name, seen, tool=tool_name())
        for ending, text in (
            ("json", as_json(value)),
            ("csv", as_csv(value)),
            ("html", as_html(value)),
        ):
            yield _write(folder / f"evidence-{name}.{ending}", text)


def _catalogue() -> str:
    value = {
        "tool": tool_name(),
        "events": {
            str(event): {
                "outcomes": [str(outcome) for outcome in terms.outcomes],
                "team": str(terms.team),
                "request_id": str(terms.request_id),
            }
            for event, terms in CATALOGUE.items()
        },
    }
    return json.dumps(value, indent=1) + "\n"


def _write(path: Path, text: str) -> str:
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
    return path.name
