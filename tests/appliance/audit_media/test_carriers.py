"""An export in one file: the same bytes again, nothing overwritten, nothing half."""

import datetime as dt
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from appliance.audit_media.iso_image import find_xorriso, write_iso
from appliance.audit_media.new_file import publish
from appliance.audit_media.tar_file import write_tar
from appliance.scratch import scratch_beside
from bundleformat.errors import MissingError, StorageFaultError
from bundleformat.iso9660 import IsoImage
from bundleformat.paths import ArchivePath
from tests.support.ledgers import NOW

XORRISO = shutil.which("xorriso")
needs_xorriso = pytest.mark.skipif(
    XORRISO is None, reason="xorriso is not installed: apt-get install xorriso"
)


def _folder(path: Path, *, at: int) -> Path:
    """A folder of an export's kind, whose files have these dates and odd rights."""
    (path / "consistency").mkdir(parents=True)
    (path / "records.jsonl").write_bytes(b"x" * 70_000)
    (path / "empty.txt").write_bytes(b"")
    (path / "consistency" / "4-9.txt").write_text("proof\n")
    for each in path.rglob("*"):
        if each.is_file():
            each.chmod(0o640 if at % 2 else 0o600)
        os.utime(each, (at, at))
    return path


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }


def test_the_same_folder_makes_the_same_archive(tmp_path: Path) -> None:
    for name, at in (("a", 1_000_000_000), ("b", 1_700_000_003)):
        folder = _folder(tmp_path / name, at=at)
        with (tmp_path / f"{name}.tar").open("xb") as file:
            write_tar(folder, file, top="export", created=NOW)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_archive_unpacks_into_one_folder_with_everything(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a", at=1)
    with (tmp_path / "a.tar").open("xb") as file:
        write_tar(folder, file, top="june", created=NOW)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {member.name.split("/")[0] for member in archive} == {"june"}
        assert {(m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, "", "")}
        assert {member.mtime for member in archive} == {int(NOW.timestamp())}
        archive.extractall(tmp_path / "out", filter="data")
    assert _tree(tmp_path / "out" / "june") == _tree(folder)


def test_a_host_without_xorriso_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError) as caught:
        find_xorriso()
    assert caught.value.where == "xorriso"


@needs_xorriso
def test_the_same_folder_makes_the_same_image_which_our_reader_reads(
    tmp_path: Path,
) -> None:
    for name, at in (("a", 1_000_000_000), ("b", 1_700_000_003)):
        folder = _folder(tmp_path / name, at=at)
        _image(folder, tmp_path / f"{name}.iso", scratch=tmp_path / f"scratch-{name}")
    assert (tmp_path / "a.iso").read_bytes() == (tmp_path / "b.iso").read_bytes()
    with IsoImage(tmp_path / "a.iso") as image:
        assert image.exists(ArchivePath("records.jsonl"))


@needs_xorriso
def test_an_image_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a", at=1)
    with pytest.raises(StorageFaultError):
        _image(folder, tmp_path / "nowhere" / "a.iso", scratch=tmp_path / "scratch")


def _image(folder: Path, path: Path, *, scratch: Path) -> None:
    scratch.mkdir()
    created = NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))
    write_iso(folder, path, program=find_xorriso(), created=created, scratch=scratch)


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.tar"

    def make() -> None:
        with scratch_beside(out) as scratch:
            (scratch / "made").write_bytes(b"new")
            out.write_bytes(b"theirs")
            publish(scratch / "made", out)

    with pytest.raises(StorageFaultError):
        make()
    assert out.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar"]


def test_a_published_file_is_its_owners_alone_and_nothing_else_stays(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.tar"
    with scratch_beside(out) as scratch:
        (scratch / "made").write_bytes(b"new")
        publish(scratch / "made", out)
    assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar"]


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    # A name of the longest length leaves no room for the scratch folder's own.
    with pytest.raises(StorageFaultError), scratch_beside(tmp_path / ("x" * 255)):
        raise AssertionError("there is no such folder")
    assert list(tmp_path.iterdir()) == []
