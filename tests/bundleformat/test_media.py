import os
from pathlib import Path

import pytest

from bundleformat.errors import MalformedError, MissingError, UsageError
from bundleformat.iso9660 import IsoImage
from bundleformat.media import open_medium, open_volumes
from bundleformat.single_file import SingleFile
from bundleformat.ustar import END
from bundleformat.volume import Volume
from tests.bundleformat.test_single_file import GOOD
from tests.support.iso_bytes import iso_image

IMAGE = bytes(iso_image({"BUNDLE.txt": b"a note"}).data)


def test_a_medium_is_told_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    for name, data, kind in (
        ("a.iso", GOOD, SingleFile),
        ("a.mbundle", IMAGE, IsoImage),
        ("disc", IMAGE, IsoImage),
    ):
        (tmp_path / name).write_bytes(data)
        with open_medium(tmp_path / name) as medium:
            assert type(medium) is kind
            assert medium.label == str(tmp_path / name)
    with open_medium(tmp_path) as medium:
        assert type(medium) is Volume
        assert medium.label == str(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", b"PK\x03\x04" + bytes(5_000), END, bytes(40_000)]
)
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(MalformedError) as caught:
        open_medium(tmp_path / "x")
    assert caught.value.where == str(tmp_path / "x")
    assert caught.value.hint


def test_a_file_that_is_two_formats_at_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(GOOD[:512] + IMAGE[512:])
    with pytest.raises(MalformedError):
        open_medium(tmp_path / "x")


@pytest.mark.parametrize("name", ["none", "file/below"])
def test_nothing_there_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MissingError):
        open_medium(tmp_path / name)


@pytest.mark.timeout(5)
def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MalformedError):
        open_medium(tmp_path / "fifo")


def test_a_device_that_is_no_disc_is_refused() -> None:
    with pytest.raises(MalformedError):
        open_medium(Path("/dev/null"))


def test_a_folder_without_a_bundle_is_refused_and_what_lies_below_is_named(
    tmp_path: Path,
) -> None:
    for name in ("volume-1-of-2", "volume-2-of-2"):
        (tmp_path / name / "metadata").mkdir(parents=True)
    (tmp_path / "main-7.iso").write_bytes(IMAGE)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "volume-1-of-2")
    with pytest.raises(MissingError) as caught:
        open_volumes([tmp_path])
    assert caught.value.where == str(tmp_path)
    named = caught.value.hint.partition(": ")[2].split()
    below = ("main-7.iso", "volume-1-of-2", "volume-2-of-2")
    assert named == [str(tmp_path / name) for name in below]


@pytest.mark.parametrize("name", ["empty", "x.iso"])
def test_a_medium_without_a_bundle_is_refused_by_its_path(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.iso").write_bytes(IMAGE)
    with pytest.raises(MissingError) as caught:
        open_volumes([tmp_path / name])
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.hint


def test_an_image_that_is_cut_off_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "x.iso").write_bytes(IMAGE[:-2_048])
    with pytest.raises(MalformedError) as caught:
        open_medium(tmp_path / "x.iso")
    assert caught.value.where.count("x.iso") == 1
    assert caught.value.hint


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.mbundle").write_bytes(GOOD[:-1])
    with pytest.raises(MalformedError) as caught:
        open_medium(tmp_path / "x.mbundle")
    assert caught.value.where.startswith(str(tmp_path / "x.mbundle"))


def test_no_volume_is_a_usage_error_and_a_bad_one_leaves_none_open(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError):
        open_volumes([])
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "x.iso").write_bytes(IMAGE)
    with pytest.raises(MissingError):
        open_volumes([tmp_path / "x.iso", tmp_path / "none"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
