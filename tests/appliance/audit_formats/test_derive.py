"""The files that are made from an export's records, together and in little memory."""

import csv
import json
import tracemalloc
from pathlib import Path

import pytest

from appliance.audit_formats.derive import FILES, Format, derive, parse_formats
from bundleformat.errors import MalformedError, UsageError
from tests.support.audit_samples import write_records
from tests.support.ledgers import NOW, TOOL

SPARE_BYTES = 1_500_000
"""What deriving may keep in memory, whatever the number of records."""


def _derive(folder: Path, *formats: Format) -> list[str]:
    return list(derive(folder, formats, created=NOW, tool=TOOL))


@pytest.mark.parametrize("text", ["pdf", "csv,,pdf", "CSV", "csv;xlsx", "\x1b[2J"])
def test_a_format_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_formats(text)
    assert caught.value.where == "--format"


def test_formats_are_taken_once_each_and_the_records_are_always_there() -> None:
    assert parse_formats("jsonl") == ()
    assert parse_formats("html, csv,csv,jsonl") == (Format.CSV, Format.HTML)
    assert parse_formats(",".join(Format)) == tuple(Format)


def test_records_that_are_no_records_make_nothing(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b"{}\n")
    with pytest.raises(MalformedError):
        _derive(tmp_path, Format.CSV)
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_no_format_makes_no_file(tmp_path: Path) -> None:
    assert _derive(write_records(tmp_path, 3)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_every_format_has_every_record_and_names_the_evidence(tmp_path: Path) -> None:
    write_records(tmp_path, 50)
    assert _derive(tmp_path, *Format) == [FILES[each] for each in Format]
    assert len(list(tmp_path.iterdir())) == 1 + len(Format)
    with (tmp_path / "records.csv").open(encoding="utf-8", newline="") as file:
        assert [row["seq"] for row in csv.DictReader(file)] == [
            str(n) for n in range(50)
        ]
    events = (tmp_path / "ocsf.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["metadata"]["sequence"] for line in events] == [*range(50)]
    lines = (tmp_path / "records.syslog").read_bytes().splitlines()
    assert [line.partition(b" {")[2] for line in lines] == [
        line.removeprefix(b"{") for line in events
    ]
    for name in FILES.values():
        if name != "records.xlsx":
            assert b"records.jsonl" in (tmp_path / name).read_bytes()


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    write_records(tmp_path, 4_000)
    assert (tmp_path / "records.jsonl").stat().st_size > SPARE_BYTES
    tracemalloc.start()
    _derive(tmp_path, *Format)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < SPARE_BYTES
