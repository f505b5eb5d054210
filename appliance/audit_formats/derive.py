"""Writes the files of an export that are made from its records, for convenience.

The records are read from disk line by line, once for the survey and once for each
file, so that memory does not grow with them. What is written here is listed in the
export's manifest as derived; the proof is of the records alone.
"""

import datetime as dt
import shutil
from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.audit_formats.cells import columns
from appliance.audit_formats.csv_file import write_csv
from appliance.audit_formats.ocsf import ocsf_line
from appliance.audit_formats.record import EVIDENCE, AuditRecord, read_record
from appliance.audit_formats.report import report_html
from appliance.audit_formats.survey import Survey, survey
from appliance.audit_formats.syslog import syslog_line
from bundleformat.errors import UsageError


class Format(StrEnum):
    """What records can be had as, besides themselves."""

    CSV = "csv"
    XLSX = "xlsx"
    OCSF = "ocsf"
    SYSLOG = "syslog"
    HTML = "html"


FILES: Final = {
    Format.CSV: "records.csv",
    Format.XLSX: "records.xlsx",
    Format.OCSF: "ocsf.jsonl",
    Format.SYSLOG: "records.syslog",
    Format.HTML: "report.html",
}
"""What each is called in an export."""

ITSELF: Final = "jsonl"
"""The word for the records themselves, which every export holds."""


def parse_formats(text: str) -> tuple[Format, ...]:
    """Return the formats that ``text`` lists with commas, each once.

    Raises:
        UsageError: It names one that does not exist.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word != ITSELF and word not in set(Format):
            raise UsageError(
                "no such format",
                where="--format",
                expected=", ".join((ITSELF, *Format)),
                actual=ascii(word),
            )
    return tuple(each for each in Format if each in words)


def derive(
    folder: Path, formats: Collection[Format], *, created: dt.datetime, tool: str
) -> Iterator[str]:
    """Write each of ``formats`` beside the records of ``folder``; yield its name.

    Raises:
        MalformedError: The records are no records.
        StorageFaultError, OSError: The disk refused.
    """
    if not formats:
        return
    found = survey(read_records(folder))
    for each in formats:
        path = folder / FILES[each]
        _write(each, path, found=found, created=created, tool=tool)
        yield path.name


def read_records(folder: Path) -> Iterator[AuditRecord]:
    """Yield the records of an export, one at a time."""
    with (folder / EVIDENCE).open("rb") as file:
        for line in file:
            yield read_record(line.removesuffix(b"\n"))


def _write(
    each: Format, path: Path, *, found: Survey, created: dt.datetime, tool: str
) -> None:
    records = read_records(path.parent)
    if each is Format.CSV:
        with path.open("x", encoding="utf-8", newline="") as file:
            write_csv(records, file, headings=columns(found.names))
    elif each is Format.XLSX:
        # Only this needs the library; an import of a bundle has 100 MB in all.
        from appliance.audit_formats.xlsx_file import write_xlsx  # noqa: PLC0415

        scratch = path.with_suffix(".scratch")
        scratch.mkdir(mode=0o700)
        try:
            with path.open("xb") as book:
                write_xlsx(
                    records,
                    book,
                    headings=columns(found.names),
                    created=created,
                    scratch=scratch,
                )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    elif each is Format.HTML:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(report_html(found, tool=tool))
    else:
        with path.open("xb") as sink:
            for number, record in enumerate(records, start=1):
                line = (
                    ocsf_line(record, tool=tool)
                    if each is Format.OCSF
                    else syslog_line(record, tool=tool, number=number)
                )
                sink.write(line + b"\n")
