"""Records as a workbook: text cells only, no formula, link or macro.

Rows go to disk as they come, so that a ledger of any length needs little memory; a
sheet that is full is followed by another with the same headings. The same records
give the same bytes. Source: ECMA-376; Excel's specifications and limits.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import xlsxwriter
from xlsxwriter.exceptions import XlsxFileError
from xlsxwriter.worksheet import Worksheet

from appliance.audit_formats.cells import row
from appliance.audit_formats.record import EVIDENCE, AuditRecord
from bundleformat.errors import StorageFaultError

SHEET_ROWS: Final = 1_048_576
"""Rows of a sheet. Source: Excel's specifications and limits."""

CELL_CHARACTERS: Final = 32_767
"""Characters of a cell. Source: Excel's specifications and limits."""

CUT: Final = f" … cut, see {EVIDENCE}"
"""What a cell ends with that would be longer."""

SAFE: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}
"""How the workbook is written: nothing is taken for more than text."""


def write_xlsx(
    records: Iterable[AuditRecord],
    file: BinaryIO,
    *,
    headings: Sequence[str],
    created: dt.datetime,
    scratch: Path,
    sheet_rows: int = SHEET_ROWS,
) -> None:
    """Write a workbook with every record as one row.

    Args:
        records: In the order in which they are written.
        file: Where the workbook goes.
        headings: The names of its columns.
        created: What the workbook says of when it was made.
        scratch: A folder for rows on their way; the caller empties it afterwards.
        sheet_rows: Rows of one sheet.

    Raises:
        StorageFaultError: The disk refused.
    """
    book = xlsxwriter.Workbook(file, {**SAFE, "tmpdir": str(scratch)})
    book.use_zip64()
    book.set_properties(
        {
            "title": "Sallyport records",
            "comments": f"A copy for convenience; only {EVIDENCE} proves anything.",
            "created": created.astimezone(dt.UTC).replace(tzinfo=None),
        }
    )
    try:
        _write_sheets(book, records, headings=headings, sheet_rows=sheet_rows)
        book.close()
    except XlsxFileError as error:
        raise StorageFaultError(
            "the workbook cannot be written", where="xlsx", actual=str(error)
        ) from error


def _write_sheets(
    book: xlsxwriter.Workbook,
    records: Iterable[AuditRecord],
    *,
    headings: Sequence[str],
    sheet_rows: int,
) -> None:
    sheet, place, sheets = _new_sheet(book, headings, number=1), 1, 1
    for record in records:
        if place == sheet_rows:
            sheets += 1
            sheet, place = _new_sheet(book, headings, number=sheets), 1
        _write_row(sheet, place, row(record, headings))
        place += 1


def _new_sheet(
    book: xlsxwriter.Workbook, headings: Sequence[str], *, number: int
) -> Worksheet:
    sheet = book.add_worksheet("records" if number == 1 else f"records {number}")
    sheet.freeze_panes(1, 1)
    _write_row(sheet, 0, headings)
    return sheet


def _write_row(sheet: Worksheet, place: int, cells: Sequence[str]) -> None:
    for column, cell in enumerate(cells):
        if cell:
            sheet.write_string(place, column, _fitting(cell))


def _fitting(cell: str) -> str:
    if len(cell) <= CELL_CHARACTERS:
        return cell
    return cell[: CELL_CHARACTERS - len(CUT)] + CUT
