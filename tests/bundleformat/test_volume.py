import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    MissingError,
)
from bundleformat.paths import ArchivePath
from bundleformat.volume import Volume

FILE = ArchivePath("metadata/a.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "v" / "metadata").mkdir(parents=True)
    (tmp_path / "v" / FILE).write_bytes(b"12345")
    return tmp_path / "v"


@pytest.fixture
def volume(folder: Path) -> Iterator[Volume]:
    with Volume(folder) as opened:
        yield opened


def test_a_regular_file_is_read(volume: Volume) -> None:
    assert volume.exists(FILE)
    assert volume.read(FILE, max_bytes=5) == b"12345"
    with volume.open(FILE) as file:
        assert file.read() == b"12345"


def test_a_file_above_the_cap_is_not_read(volume: Volume) -> None:
    with pytest.raises(LimitExceededError) as caught:
        volume.read(FILE, max_bytes=4)
    assert caught.value.where == FILE
    assert caught.value.actual == "5 bytes"


@pytest.mark.parametrize("path", ["metadata/none", "none/a.json"])
def test_an_absent_file_is_missing(volume: Volume, path: str) -> None:
    assert not volume.exists(ArchivePath(path))
    with pytest.raises(MissingError) as caught:
        volume.open(ArchivePath(path))
    assert caught.value.where == path


def test_a_link_to_a_file_is_refused(volume: Volume, folder: Path) -> None:
    (folder / "link").symlink_to(folder / FILE)
    with pytest.raises(MalformedError):
        volume.open(ArchivePath("link"))


def test_a_dangling_link_is_refused_and_not_missing(
    volume: Volume, folder: Path
) -> None:
    (folder / "link").symlink_to("/nowhere")
    with pytest.raises(MalformedError):
        volume.exists(ArchivePath("link"))


def test_a_link_to_a_folder_is_refused(volume: Volume, folder: Path) -> None:
    (folder / "other").symlink_to(folder / "metadata")
    with pytest.raises(MalformedError):
        volume.open(ArchivePath("other/a.json"))


@pytest.mark.timeout(5)
def test_a_fifo_is_refused_without_waiting(volume: Volume, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with pytest.raises(MalformedError):
        volume.open(ArchivePath("fifo"))


def test_a_socket_is_refused(volume: Volume, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        with pytest.raises(MalformedError):
            volume.open(ArchivePath("s"))


@pytest.mark.parametrize("path", ["metadata", "metadata/a.json/b"])
def test_a_folder_and_a_file_are_not_each_other(volume: Volume, path: str) -> None:
    with pytest.raises(MalformedError):
        volume.open(ArchivePath(path))


def test_names_are_listed_up_to_a_limit(volume: Volume, folder: Path) -> None:
    (folder / "metadata" / "b").touch()
    path = ArchivePath("metadata")
    assert volume.names(path, max_entries=2) == ("a.json", "b")
    with pytest.raises(LimitExceededError):
        volume.names(path, max_entries=1)


@pytest.mark.parametrize("name", ["nowhere", "v/metadata/a.json"])
def test_a_volume_is_a_folder(folder: Path, name: str) -> None:
    with pytest.raises(MissingError):
        Volume(folder.parent / name)


def test_the_medium_may_be_reached_through_a_link(folder: Path) -> None:
    (folder.parent / "stick").symlink_to(folder)
    with Volume(folder.parent / "stick") as volume:
        assert volume.exists(FILE)


def test_no_descriptor_is_left_open(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Volume(folder) as volume:
        (folder / "link").symlink_to(folder / FILE)
        for path in ("metadata/none", "link", "metadata", "none/x"):
            with pytest.raises((MissingError, MalformedError)):
                volume.open(ArchivePath(path))
        volume.read(FILE, max_bytes=5)
        volume.names(ArchivePath("metadata"), max_entries=9)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
