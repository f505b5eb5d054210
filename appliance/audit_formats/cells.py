"""A record as a row of cells: flat, text only, and harmless in a spreadsheet.

A field inside another is named ``outer.inner``. A list of plain values is one cell,
separated by spaces, which no such value contains; any other list is compact JSON.
True and false are yes and no: spreadsheets would turn the words into values.
Source: OWASP, CSV Injection.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from appliance.audit_formats.record import EVIDENCE, AuditRecord

FIRST: Final = (
    "seq",
    "ts",
    "event",
    "outcome",
    "team",
    "request_id",
    "actor.key_id",
    "endpoint",
    "model.name",
    "model.sha256",
    "model.generation",
    "labels.class",
    "labels.class_source",
    "labels.region",
    "labels.requested_region",
    "policy.decision",
    "policy.ids",
    "policy.set_sha256",
    "parent",
    "status",
    "code",
    "error_code",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "ttft_ms",
    "total_ms",
)
"""The columns that every table begins with, whatever its records hold."""

LAST: Final = ("log", "v", "leaf", "convenience_copy_of")
"""The columns that every table ends with; the last says where the evidence is."""

TRIGGERS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take the full-width ones for the others
"""A cell that begins like this could be taken for a formula."""

MARK: Final = "'"
"""Put before such a cell; a spreadsheet shows the rest as text."""


def defused(text: str) -> str:
    """Return ``text`` so that no spreadsheet computes it."""
    return MARK + text if text.startswith(TRIGGERS) else text


def columns(names: Collection[str]) -> tuple[str, ...]:
    """Return the headings of a table whose records have fields of these names."""
    fixed = {*FIRST, *LAST}
    return (*FIRST, *sorted(set(names) - fixed), *LAST)


def field_names(record: AuditRecord) -> Iterator[str]:
    """Yield the name of every cell that ``record`` fills."""
    for name, _ in _flat(record.fields, ""):
        yield name


def row(record: AuditRecord, headings: Collection[str]) -> list[str]:
    """Return the cells of ``record`` under ``headings``, defused."""
    cells = dict(_flat(record.fields, ""))
    cells["leaf"] = record.leaf
    cells["convenience_copy_of"] = EVIDENCE
    return [defused(cells.get(name, "")) for name in headings]


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _cell(value)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if all(isinstance(item, str | int) for item in value):
            return " ".join(_cell(item) for item in value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)
