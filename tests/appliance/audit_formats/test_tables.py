"""CSV and workbooks say what the records say, and nothing in them is computed."""

import csv
import datetime as dt
import errno
import hashlib
import io
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import pytest

from appliance.audit_formats.cells import FIRST, LAST, TRIGGERS, columns, defused, row
from appliance.audit_formats.csv_file import write_csv
from appliance.audit_formats.record import AuditRecord, read_record
from appliance.audit_formats.survey import survey
from appliance.audit_formats.xlsx_file import CELL_CHARACTERS, CUT, write_xlsx
from bundleformat.errors import MalformedError, StorageFaultError
from tests.support.audit_samples import encoded, records
from tests.support.ledgers import NOW

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def _csv(found: list[AuditRecord]) -> str:
    file = io.StringIO(newline="")
    write_csv(found, file, headings=columns(survey(found).names))
    return file.getvalue()


def _book(path: Path, found: list[AuditRecord], *, sheet_rows: int = 1_000) -> Path:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    with path.open("xb") as file:
        write_xlsx(
            found,
            file,
            headings=columns(survey(found).names),
            created=NOW,
            scratch=scratch,
            sheet_rows=sheet_rows,
        )
    assert list(scratch.iterdir()) == []
    scratch.rmdir()
    return path


def _cells(path: Path, sheet: int = 1) -> list[list[str]]:
    """The cells of a sheet, and that each of them is text."""
    with zipfile.ZipFile(path) as book:
        tree = ET.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))  # noqa: S314 - we wrote it
    assert tree.findall(f".//{SHEET}f") == []
    rows = []
    for line in tree.iter(f"{SHEET}row"):
        cells: dict[int, str] = {}
        for cell in line.iter(f"{SHEET}c"):
            assert cell.get("t") == "inlineStr"
            name = (cell.get("r") or "").rstrip("0123456789")
            place = 0
            for letter in name:
                place = place * 26 + ord(letter) - 64
            cells[place - 1] = "".join(
                text.text or "" for text in cell.iter(f"{SHEET}t")
            )
        rows.append([cells.get(n, "") for n in range(max(cells) + 1)])
    return rows


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"7", b"[" * 99_999, b'{"seq":[]}']
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_record(data)


@pytest.mark.parametrize("first", TRIGGERS)
def test_a_cell_that_could_be_a_formula_is_text(first: str) -> None:
    assert defused(f"{first}1+1") == f"'{first}1+1"
    assert defused(f"1{first}1") == f"1{first}1"


def test_every_cell_of_a_record_is_defused() -> None:
    found = records()
    headings = columns(survey(found).names)
    cells = [cell for record in found for cell in row(record, headings)]
    assert not any(cell.startswith(TRIGGERS) for cell in cells)
    assert "'-dash" in cells
    assert '\'=HYPERLINK("http://x"; "é")' in cells


def test_columns_are_the_same_at_both_ends_whatever_the_records_hold() -> None:
    assert columns(()) == (*FIRST, *LAST)
    assert columns(("zebra", "seq", "apple")) == (*FIRST, "apple", "zebra", *LAST)


def test_a_row_has_each_field_by_its_name_and_says_where_the_evidence_is() -> None:
    found = records()
    data = list(encoded(day=dt.timedelta(days=1)))
    rows = list(csv.DictReader(io.StringIO(_csv(found), newline="")))
    assert [each["seq"] for each in rows] == [str(n) for n in range(len(found))]
    asked, refused, imported = rows[0], rows[4], rows[6]
    assert asked["model.name"] == "demo"
    assert asked["params.stream"] == "yes"
    assert asked["leaf"] == hashlib.sha256(b"\x00" + data[0]).hexdigest()
    assert refused["policy.ids"] == "core-region site-2"
    assert json.loads(imported["artifacts"])[0]["name"] == "demo"
    assert {each["convenience_copy_of"] for each in rows} == {"records.jsonl"}


def test_csv_is_as_the_specification_has_it() -> None:
    text = _csv(records())
    lines = text.split("\r\n")
    assert lines[-1] == ""
    assert "\n" not in "".join(lines)
    assert '"\'=HYPERLINK(""http://x""; ""é"")"' in text
    assert lines[0].startswith("seq,ts,event,")


def test_a_workbook_holds_the_cells_of_the_csv_as_text(tmp_path: Path) -> None:
    found = records()
    book = _book(tmp_path / "records.xlsx", found)
    expected = list(csv.reader(io.StringIO(_csv(found), newline="")))
    assert _cells(book) == expected
    with zipfile.ZipFile(book) as parts:
        names = parts.namelist()
        about = parts.read("docProps/core.xml").decode()
    assert not [name for name in names if "vba" in name or "external" in name.lower()]
    assert "only records.jsonl proves anything" in about


def test_the_same_records_make_the_same_workbook(tmp_path: Path) -> None:
    one = _book(tmp_path / "one.xlsx", records())
    other = _book(tmp_path / "other.xlsx", records())
    assert one.read_bytes() == other.read_bytes()


def test_a_full_sheet_is_followed_by_another(tmp_path: Path) -> None:
    found = records()
    book = _book(tmp_path / "records.xlsx", found, sheet_rows=5)
    first, second, third = (_cells(book, n) for n in (1, 2, 3))
    assert first[0] == second[0] == third[0]
    numbers = [cells[0] for cells in (*first[1:], *second[1:], *third[1:])]
    assert numbers == [str(n) for n in range(len(found))]


def test_a_cell_that_is_too_long_says_that_it_was_cut(tmp_path: Path) -> None:
    record = AuditRecord(
        seq=0, leaf="", fields={"seq": "0", "long": "x" * 99_999}, size_bytes=1
    )
    cells = _cells(_book(tmp_path / "records.xlsx", [record]))[1]
    (cut,) = [cell for cell in cells if cell.startswith("x")]
    assert len(cut) == CELL_CHARACTERS
    assert cut.endswith(CUT)


class _Full(io.BytesIO):
    """A disk that is full for a moment."""

    failed = False

    def write(self, data: Any) -> int:
        if not self.failed:
            self.failed = True
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_workbook_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFaultError):
        write_xlsx(
            records(), _Full(), headings=columns(()), created=NOW, scratch=tmp_path
        )


@pytest.mark.skipif(
    shutil.which("soffice") is None,
    reason="LibreOffice is not installed: apt-get install libreoffice-calc-nogui",
)
def test_libreoffice_reads_both_and_computes_nothing(tmp_path: Path) -> None:
    found = records()
    text = _csv(found)
    expected = list(csv.reader(io.StringIO(text, newline="")))
    (tmp_path / "table.csv").write_text(text, encoding="utf-8", newline="")
    _book(tmp_path / "book.xlsx", found)
    for name in ("table.csv", "book.xlsx"):
        assert _through_libreoffice(tmp_path / name) == expected, name


def _through_libreoffice(path: Path) -> list[list[str]]:
    """The cells as LibreOffice writes them again, having read what lies at ``path``."""
    out = path.parent / f"again-{path.stem}"
    # 44,34,76,1: commas, quotes, UTF-8; a column of text each would hide formulas.
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation=file://{path.parent}/u"),
            "--infilter=CSV:44,34,76,1" if path.suffix == ".csv" else "--norestore",
            *("--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false"),
            *("--outdir", str(out), str(path)),
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    (again,) = out.iterdir()
    return list(csv.reader(io.StringIO(again.read_text("utf-8"), newline="")))
