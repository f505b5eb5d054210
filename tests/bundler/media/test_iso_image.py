import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    MalformedError,
    MissingError,
    StorageFaultError,
    UsageError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundleformat.verify import verify_chunks
from bundler.join_flow import join_bundle
from bundler.media.iso_image import Image, volume_id, write_images
from bundler.progress import SilentMeter
from tests.support.publisher import Published
from tests.support.volumes import chunks_in, files_of, full_disk, look, publish, split

XORRISO = shutil.which("xorriso")
needs_xorriso = pytest.mark.skipif(XORRISO is None, reason="xorriso is not installed")


@pytest.fixture
def bundle(tmp_path: Path) -> Published:
    return publish(tmp_path / "bundle")


def images(bundle: Published, folders: Sequence[Path], out: Path) -> tuple[Image, ...]:
    return write_images(
        folders,
        out=out,
        verify=partial(look, bundle, scratch=out.parent),
        limits=DEFAULT_LIMITS,
        meter=SilentMeter(),
    )


def refuses(
    bundle: Published, folders: Sequence[Path], out: Path, error: type[Error]
) -> Error:
    before = sorted(out.parent.iterdir())
    with pytest.raises(error) as caught:
        images(bundle, folders, out)
    assert type(caught.value) is error
    assert sorted(out.parent.iterdir()) == before
    return caught.value


def test_a_machine_without_xorriso_is_told_what_to_install(
    tmp_path: Path, bundle: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refuses(bundle, [bundle.folder], tmp_path / "out", MissingError)
    assert error.where == "xorriso"
    assert "apt-get install xorriso" in error.hint


@needs_xorriso
def test_a_single_file_is_no_folder(tmp_path: Path, bundle: Published) -> None:
    (tmp_path / "x.mbundle").touch()
    media = [tmp_path / "x.mbundle"]
    assert refuses(bundle, media, tmp_path / "out", UsageError).hint


@needs_xorriso
def test_no_folder_is_missing(tmp_path: Path, bundle: Published) -> None:
    refuses(bundle, [tmp_path / "none"], tmp_path / "out", MissingError)


@needs_xorriso
def test_the_same_volume_twice_is_a_conflict(tmp_path: Path, bundle: Published) -> None:
    media = [bundle.folder, bundle.folder]
    refuses(bundle, media, tmp_path / "out", ConflictError)


@needs_xorriso
def test_a_changed_chunk_is_found_when_the_image_is_read_back(
    tmp_path: Path, bundle: Published
) -> None:
    chunk = chunks_in(bundle.folder)[2]
    chunk.write_bytes(bytes(chunk.stat().st_size))
    error = refuses(bundle, [bundle.folder], tmp_path / "out", DigestMismatchError)
    assert error.where == str(chunk.relative_to(bundle.folder))


@needs_xorriso
def test_a_link_is_not_followed(tmp_path: Path, bundle: Published) -> None:
    chunk = chunks_in(bundle.folder)[0]
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    refuses(bundle, [bundle.folder], tmp_path / "out", MalformedError)


@needs_xorriso
def test_a_full_disk_is_a_fault(tmp_path: Path, bundle: Published) -> None:
    with full_disk(file_bytes=100_000):
        refuses(bundle, [bundle.folder], tmp_path / "out", StorageFaultError)


@needs_xorriso
def test_an_image_holds_the_bundle_and_nothing_else(
    tmp_path: Path, bundle: Published
) -> None:
    (bundle.folder / "private.txt").write_text("not of the bundle")
    (image,) = images(bundle, [bundle.folder], tmp_path / "out")
    assert (image.name, image.volume, image.of) == ("main-1.iso", 1, 1)
    path = tmp_path / "out" / image.name
    assert path.stat().st_size == image.size_bytes
    with open_volumes([path]) as volumes:
        found = look(bundle, volumes, tmp_path)
        verify_chunks(volumes, found, progress=lambda _: None)
    whole = files_of(bundle.folder)
    del whole["private.txt"]
    assert extracted(path, tmp_path / "by-xorriso") == whole


@needs_xorriso
def test_the_same_volume_gives_the_same_image_whenever_it_is_written(
    tmp_path: Path, bundle: Published
) -> None:
    (first,) = images(bundle, [bundle.folder], tmp_path / "one")
    shutil.copytree(bundle.folder, tmp_path / "copy")
    for number, path in enumerate(sorted((tmp_path / "copy").rglob("*"), reverse=True)):
        os.utime(path, (number * 1_000, number * 1_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    (second,) = images(bundle, [tmp_path / "copy"], tmp_path / "two")
    assert (tmp_path / "one" / first.name).read_bytes() == (
        tmp_path / "two" / second.name
    ).read_bytes()


@needs_xorriso
def test_volumes_become_images_that_join_again(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "volumes")
    made = images(bundle, folders, tmp_path / "out")
    assert [image.name for image in made] == [
        f"main-1-volume-{k}-of-3.iso" for k in (1, 2, 3)
    ]
    with open_volumes([tmp_path / "out" / image.name for image in made]) as volumes:
        join_bundle(
            volumes,
            look(bundle, volumes, tmp_path),
            out=tmp_path / "joined",
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )
    found = files_of(tmp_path / "joined")
    del found["volume.json"]
    assert found == files_of(bundle.folder)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("main-1.iso", "MAIN_1"),
        ("main-7-volume-2-of-3.iso", "MAIN_7_2_OF_3"),
        (f"{'a' * 40}.b-1-volume-2-of-3.iso", f"{'A' * 21}_B_1_2_OF_3"),
    ],
)
def test_a_disc_is_named_so_that_volumes_differ(name: str, wanted: str) -> None:
    assert volume_id(name) == wanted
    assert len(volume_id(name)) <= 32


def extracted(image: Path, folder: Path) -> dict[str, bytes]:
    assert XORRISO is not None
    subprocess.run(
        [
            *(XORRISO, "-no_rc", "-osirrox", "on", "-indev", str(image)),
            *("-extract", "/", str(folder)),
        ],
        check=True,
        capture_output=True,
    )
    found = files_of(folder)
    for path in folder.rglob("*"):
        path.chmod(stat.S_IRWXU)
    return found
