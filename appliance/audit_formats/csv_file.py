"""Records as CSV: UTF-8, one line of headings, CRLF, cells that start no formula.

Source: RFC 4180.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from appliance.audit_formats.cells import row
from appliance.audit_formats.record import AuditRecord


def write_csv(
    records: Iterable[AuditRecord], file: TextIO, *, headings: Sequence[str]
) -> None:
    """Write every record as one row, in the order in which they come.

    ``file`` MUST have been opened with ``newline=""``.
    """
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(headings)
    for record in records:
        writer.writerow(row(record, headings))
