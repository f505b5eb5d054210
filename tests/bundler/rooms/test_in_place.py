"""Files that are replaced are there whole or as they were; overlays hide files."""

from pathlib import Path

import pytest

from bundleformat.errors import (
    LimitExceededError,
    MissingError,
    StorageFaultError,
)
from bundleformat.layout import METADATA_FOLDER, NOTE_PATH, TIMESTAMP_PATH
from bundleformat.volume import Volume
from bundler.in_place import locked, replace_file
from bundler.rooms.overlay import Overlay


def test_a_file_that_cannot_be_replaced_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StorageFaultError) as caught:
        replace_file(tmp_path / "file", b"new")
    assert caught.value.where == str(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(StorageFaultError):
        replace_file(tmp_path / "none" / "file", b"new")


def test_a_folder_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    with pytest.raises(MissingError), locked(tmp_path / "none"):
        pass


def test_a_replaced_file_can_be_read_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o644)


def test_an_overlay_hides_files_and_keeps_the_limits(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / TIMESTAMP_PATH).write_bytes(b"old")
    (tmp_path / "metadata" / "1.root.json").write_bytes(b"root")
    with (
        Volume(tmp_path) as volume,
        Overlay(volume, {TIMESTAMP_PATH: b"newer"}) as medium,
    ):
        with pytest.raises(LimitExceededError):
            medium.read(TIMESTAMP_PATH, max_bytes=4)
        with pytest.raises(MissingError):
            medium.open(NOTE_PATH)
        assert medium.read(TIMESTAMP_PATH, max_bytes=5) == b"newer"
        assert medium.open(TIMESTAMP_PATH).read() == b"newer"
        assert medium.exists(TIMESTAMP_PATH)
        assert not medium.exists(NOTE_PATH)
        assert medium.names(METADATA_FOLDER, max_entries=9) == (
            "1.root.json",
            "timestamp.json",
        )
        assert medium.label == volume.label
