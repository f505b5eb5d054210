import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundleformat.errors import (
    Error,
    LimitExceededError,
    MalformedError,
    MissingError,
)
from bundleformat.iso9660 import IsoImage
from bundleformat.media import open_medium
from bundleformat.paths import ArchivePath
from tests.support.iso_bytes import (
    FILE_MODE,
    SECTOR,
    Iso,
    ce,
    iso_image,
    nm,
    px,
)

DIGEST = "ab" + "0" * 62
CHUNK = f"c/ab/{DIGEST}"
OTHER = "c/cd/cd" + "1" * 62
FILES = {
    "BUNDLE.txt": b"a note\n",
    "metadata/1.root.json": b"root",
    "metadata/timestamp.json": b"timestamp",
    "targets/manifest.json": b"manifest",
    CHUNK: bytes(range(256)) * 20,
    OTHER: b"x",
}
XORRISO = shutil.which("xorriso")
needs_xorriso = pytest.mark.skipif(XORRISO is None, reason="xorriso is not installed")


def written(folder: Path, image: Iso) -> Path:
    path = folder / "x.iso"
    path.write_bytes(image.data)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with IsoImage(path) as image:
        return {
            name: image.read(ArchivePath(name), max_bytes=10_000)
            for name in FILES
            if image.exists(ArchivePath(name))
        }


def test_every_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, iso_image(FILES))
    assert contents(path) == FILES
    with open_medium(path) as image:
        assert isinstance(image, IsoImage)
        assert image.label == str(path)
        assert image.names(ArchivePath("metadata"), max_entries=2) == (
            "1.root.json",
            "timestamp.json",
        )
        assert image.names(ArchivePath("c"), max_entries=2) == ("ab", "cd")
        with image.open(ArchivePath(CHUNK)) as first:
            assert first.read(3) == FILES[CHUNK][:3]
            with image.open(ArchivePath(CHUNK)) as second:
                assert second.read() == FILES[CHUNK]
            assert first.read() == FILES[CHUNK][3:]


def test_a_file_stays_readable_when_the_image_is_closed(tmp_path: Path) -> None:
    with IsoImage(written(tmp_path, iso_image(FILES))) as image:
        file = image.open(ArchivePath(CHUNK))
    with file:
        assert file.read() == FILES[CHUNK]


def test_a_file_in_several_runs_is_read_as_one(tmp_path: Path) -> None:
    data = os.urandom(3 * SECTOR + 77)
    path = written(tmp_path, iso_image({CHUNK: data}, runs={CHUNK: SECTOR}))
    with IsoImage(path) as image:
        assert image.read(ArchivePath(CHUNK), max_bytes=len(data)) == data
        with image.open(ArchivePath(CHUNK)) as file:
            assert file.read() == data


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, iso_image({"BUNDLE.txt": b""}))
    with IsoImage(path) as image:
        assert image.read(ArchivePath("BUNDLE.txt"), max_bytes=0) == b""
        with image.open(ArchivePath("BUNDLE.txt")) as file:
            assert file.read() == b""


def test_a_name_in_two_pieces_and_a_continuation_is_one(tmp_path: Path) -> None:
    half = DIGEST[:32].encode()
    use = px(FILE_MODE) + nm(half, flags=1) + ce(19, 100, len(nm(half)))
    image = iso_image({CHUNK: b"chunk"}, system_use={CHUNK: use})
    image.put(19 * SECTOR + 100, nm(DIGEST[32:].encode()))
    with IsoImage(written(tmp_path, image)) as opened:
        assert opened.read(ArchivePath(CHUNK), max_bytes=9) == b"chunk"


def test_folders_that_no_bundle_has_are_not_walked(tmp_path: Path) -> None:
    image = iso_image({**FILES, "docs/readme": b"hi", "c/xx/y": b"no"})
    # Were they walked, these would be refused.
    image.put(image.folders["docs"], b"\xff" * 64)
    image.put(image.folders["c/xx"], b"\xff" * 64)
    assert contents(written(tmp_path, image)) == FILES


def test_a_file_above_the_cap_is_not_read_and_an_absent_one_is_missing(
    tmp_path: Path,
) -> None:
    with IsoImage(written(tmp_path, iso_image(FILES))) as image:
        with pytest.raises(LimitExceededError) as caught:
            image.read(ArchivePath("BUNDLE.txt"), max_bytes=6)
        assert caught.value.where == "BUNDLE.txt"
        with pytest.raises(MissingError):
            image.open(ArchivePath("metadata/2.root.json"))
        with pytest.raises(MissingError):
            image.names(ArchivePath("sbom"), max_entries=1)
        with pytest.raises(LimitExceededError):
            image.names(ArchivePath("metadata"), max_entries=1)
        # A folder is no file.
        assert not image.exists(ArchivePath("metadata"))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    good = written(tmp_path, iso_image(FILES))
    bad = tmp_path / "bad.iso"
    bad.write_bytes(good.read_bytes()[:-SECTOR])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        contents(good)
        with pytest.raises(MalformedError):
            open_medium(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


GOOD = iso_image(FILES)
STRUCTURE = [
    *range(16 * SECTOR, 18 * SECTOR),
    *(
        offset
        for start in GOOD.folders.values()
        for offset in range(start, start + SECTOR)
        if any(GOOD.data[offset : offset + 40])
    ),
]


@settings(max_examples=600, deadline=1_000)
@given(offset=st.sampled_from(STRUCTURE), value=st.integers(0, 255))
def test_one_changed_byte_reads_the_same_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, offset: int, value: int
) -> None:
    data = bytearray(GOOD.data)
    data[offset] = value
    path = tmp_path_factory.getbasetemp() / "changed.iso"
    path.write_bytes(data)
    try:
        found = contents(path)
    except Error:
        return
    # A name that changed is a file that is missing; another file never appears.
    assert found.items() <= FILES.items()


@settings(max_examples=200, deadline=1_000)
@given(data=st.data())
def test_anything_in_a_folders_place_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    image = iso_image(FILES)
    folder = data.draw(st.sampled_from(sorted(image.folders)))
    image.put(image.folders[folder], data.draw(st.binary(max_size=SECTOR)))
    path = tmp_path_factory.getbasetemp() / "anything.iso"
    path.write_bytes(image.data)
    try:
        found = contents(path)
    except Error:
        return
    assert found.items() <= FILES.items()


@pytest.fixture
def by_xorriso(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for name, data in FILES.items():
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    path = tmp_path / "by-xorriso.iso"
    xorriso("-as", "mkisofs", "-quiet", "-iso-level", "3", "-r", "-o", path, source)
    return path


def xorriso(*arguments: str | Path) -> None:
    assert XORRISO is not None
    subprocess.run(
        [XORRISO, "-no_rc", *map(str, arguments)], check=True, capture_output=True
    )


@needs_xorriso
def test_an_image_by_xorriso_reads_the_same_in_both(
    tmp_path: Path, by_xorriso: Path
) -> None:
    xorriso("-osirrox", "on", "-indev", by_xorriso, "-extract", "/", tmp_path / "out")
    theirs = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    assert contents(by_xorriso) == theirs == FILES


@needs_xorriso
def test_our_test_images_are_what_xorriso_reads_too(tmp_path: Path) -> None:
    path = written(tmp_path, iso_image(FILES))
    xorriso("-osirrox", "on", "-indev", path, "-extract", "/", tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES


@needs_xorriso
def test_a_link_put_in_by_xorriso_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s" / "metadata").mkdir(parents=True)
    (tmp_path / "s" / "metadata" / "1.root.json").symlink_to("/etc/passwd")
    path = tmp_path / "x.iso"
    xorriso("-as", "mkisofs", "-quiet", "-r", "-o", path, tmp_path / "s")
    with pytest.raises(MalformedError):
        IsoImage(path)


@needs_xorriso
def test_an_image_without_rock_ridge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "BUNDLE.txt").write_bytes(b"x")
    path = tmp_path / "x.iso"
    xorriso(
        "-rockridge", "off", "-outdev", path, "-map", tmp_path / "s", "/", "-commit"
    )
    with pytest.raises(MalformedError) as caught:
        IsoImage(path)
    assert caught.value.hint


@needs_xorriso
@pytest.mark.slow
def test_a_file_above_4_gib_is_read_in_its_runs(tmp_path: Path) -> None:
    (tmp_path / "s" / "c" / "ab").mkdir(parents=True)
    size = 2**32 + 12_345
    with (tmp_path / "s" / CHUNK).open("wb") as file:
        file.truncate(size)
        file.seek(2**32 + 1)
        file.write(b"behind the border")
    path = tmp_path / "x.iso"
    xorriso(
        *("-as", "mkisofs", "-quiet", "-iso-level", "3", "-r"),
        *("-o", path, tmp_path / "s"),
    )
    with IsoImage(path) as image, image.open(ArchivePath(CHUNK)) as file:
        done = 0
        while block := file.read(2**20):
            at = 2**32 + 1 - done
            if 0 <= at < len(block):
                assert block[at : at + 17] == b"behind the border"
            done += len(block)
        assert done == size


@needs_xorriso
def test_an_image_reads_the_same_mounted_by_the_kernel(
    tmp_path: Path, by_xorriso: Path
) -> None:
    kinds = Path("/proc/filesystems").read_text()
    if not re.search(r"\biso9660\b", kinds):
        pytest.skip("this kernel has no iso9660 file system")
    place = tmp_path / "mounted"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-o", "loop,ro", str(by_xorriso), str(place)],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        found = {name: (place / name).read_bytes() for name in FILES}
    finally:
        subprocess.run(["umount", str(place)], check=True)  # noqa: S607
    assert found == contents(by_xorriso) == FILES
