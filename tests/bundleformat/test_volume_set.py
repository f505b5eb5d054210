import itertools
import shutil
from pathlib import Path

import pytest

from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    LimitExceededError,
    MalformedError,
    MissingError,
    VolumesMissingError,
)
from bundleformat.layout import (
    METADATA_FOLDER,
    TIMESTAMP_PATH,
    VOLUME_HINT_PATH,
    chunk_path,
)
from bundleformat.manifest import Chunk
from bundleformat.media import open_volumes
from bundleformat.paths import ArchivePath
from bundleformat.verify_volume import list_volume, verify_volume
from tests.support.publisher import Published, next_version
from tests.support.volumes import VOLUME_BYTES, chunks_in, look, publish, split


@pytest.fixture
def bundle(tmp_path: Path) -> Published:
    return publish(tmp_path / "bundle")


@pytest.fixture
def folders(tmp_path: Path, bundle: Published) -> tuple[Path, ...]:
    return split(bundle, tmp_path / "volumes")


def test_a_set_knows_its_volumes(folders: tuple[Path, ...]) -> None:
    with open_volumes([folders[2], folders[0]]) as volumes:
        assert volumes.numbers() == (1, 3)
        assert volumes.wanted() == (2,)
        assert volumes.of == 3
        assert volumes.since is None
        assert volumes.duplicates() == ()
        assert volumes.label == f"{folders[2]}, {folders[0]}"


def test_a_set_reads_chunks_from_whichever_has_them(
    bundle: Published, folders: tuple[Path, ...]
) -> None:
    chunks = [c for a in bundle.manifest.artifacts for c in a.chunks]
    with open_volumes(folders[::-1]) as volumes:
        for chunk in chunks:
            assert volumes.present(chunk)
            with volumes.open(chunk_path(chunk.sha256)) as file:
                assert sha256_of(file.read()) == chunk.sha256
            path = chunk_path(chunk.sha256)
            data = volumes.read(path, max_bytes=chunk.size_bytes)
            assert sha256_of(data) == chunk.sha256
        found = volumes.names(ArchivePath("c"), max_entries=6)
        assert found == tuple(sorted({chunk.sha256[:2] for chunk in chunks}))
        with pytest.raises(LimitExceededError):
            volumes.names(ArchivePath("c"), max_entries=len(found) - 1)


def test_a_chunk_elsewhere_is_a_volume_wanted(folders: tuple[Path, ...]) -> None:
    elsewhere = chunks_in(folders[1])[0]
    path = ArchivePath(str(elsewhere.relative_to(folders[1])))
    with open_volumes(folders[::2]) as volumes:
        assert not volumes.exists(path)
        for act in (volumes.open, lambda p: volumes.read(p, max_bytes=9_999)):
            with pytest.raises(VolumesMissingError) as caught:
                act(path)
            assert caught.value.volumes == (2,)
            assert caught.value.where == path


def test_a_chunk_nowhere_is_missing(folders: tuple[Path, ...]) -> None:
    nowhere = Chunk(sha256=sha256_of(b"nowhere"), size_bytes=7)
    with open_volumes(folders) as volumes:
        assert not volumes.present(nowhere)
        with pytest.raises(MissingError) as caught:
            volumes.open(chunk_path(nowhere.sha256))
    assert type(caught.value) is MissingError


def test_metadata_comes_from_the_first_volume_alone(folders: tuple[Path, ...]) -> None:
    (folders[1] / "metadata" / "9.root.json").write_bytes(b"x")
    with open_volumes(folders) as volumes:
        assert not volumes.exists(ArchivePath("metadata/9.root.json"))
        assert "9.root.json" not in volumes.names(METADATA_FOLDER, max_entries=9)
        with pytest.raises(MissingError):
            volumes.open(ArchivePath("metadata/9.root.json"))


def test_a_doubled_volume_is_named(tmp_path: Path, folders: tuple[Path, ...]) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    with open_volumes([*folders, tmp_path / "copy"]) as volumes:
        assert volumes.duplicates() == (str(tmp_path / "copy"),)
        assert volumes.wanted() == ()


@pytest.mark.parametrize("kind", ["the same version", "the next version"])
def test_a_foreign_volume_is_named(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...], kind: str
) -> None:
    if kind == "the same version":
        other = publish(tmp_path / "other", keys=bundle.keys, seed=7)
    else:
        other = next_version(bundle, tmp_path / "other")
    strangers = split(other, tmp_path / "strangers")
    for order in itertools.permutations([folders[0], folders[1]]):
        with pytest.raises(ConflictError) as caught:
            open_volumes([*order, strangers[2]])
        assert caught.value.where == str(strangers[2])


def test_a_volume_of_another_split_is_named(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...]
) -> None:
    others = split(bundle, tmp_path / "two", volume_bytes=VOLUME_BYTES + 4 * 2**15)
    for strangers in (others[0], bundle.folder):
        with pytest.raises(ConflictError) as caught:
            open_volumes([folders[0], strangers])
        assert caught.value.where == str(strangers)


def test_a_folder_that_is_no_volume_is_named(
    tmp_path: Path, folders: tuple[Path, ...]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError) as caught:
        open_volumes([folders[0], tmp_path / "empty"])
    assert caught.value.where.startswith(str(tmp_path / "empty"))


def test_a_malformed_hint_is_named(folders: tuple[Path, ...]) -> None:
    (folders[1] / VOLUME_HINT_PATH).write_bytes(b"{}")
    with pytest.raises(MalformedError) as caught:
        open_volumes(folders)
    assert caught.value.where.startswith(str(folders[1]))


def test_a_link_in_the_place_of_a_hint_is_refused(folders: tuple[Path, ...]) -> None:
    (folders[0] / VOLUME_HINT_PATH).unlink()
    (folders[0] / VOLUME_HINT_PATH).symlink_to(folders[1] / VOLUME_HINT_PATH)
    with pytest.raises(MalformedError):
        open_volumes(folders[:1])


def test_each_volume_is_verified_alone_in_any_order(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...]
) -> None:
    every = {c.sha256 for a in bundle.manifest.artifacts for c in a.chunks}
    seen: set[str] = set()
    for folder in folders[::-1]:
        with open_volumes([folder]) as volumes:
            found = look(bundle, volumes, tmp_path)
            contents = list_volume(volumes, found)
            done: list[int] = []
            verify_volume(volumes, found, contents=contents, progress=done.append)
        assert sum(done) == contents.payload_bytes
        assert not contents.whole
        assert set(contents.present) == {path.name for path in chunks_in(folder)}
        assert set(contents.present) | set(contents.missing) == every
        assert contents.foreign == ()
        seen.update(contents.present)
    assert seen == every


def test_one_changed_byte_on_a_volume_alone_is_found(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...]
) -> None:
    for folder, path in ((f, p) for f in folders for p in chunks_in(f)):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with open_volumes([folder]) as volumes:
            found = look(bundle, volumes, tmp_path)
            contents = list_volume(volumes, found)
            with pytest.raises(DigestMismatchError) as caught:
                verify_volume(volumes, found, contents=contents, progress=id)
        assert caught.value.where == str(path.relative_to(folder))
        path.write_bytes(before)


def test_a_chunk_that_a_volume_claims_must_be_there(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...]
) -> None:
    gone = chunks_in(folders[1])[1]
    gone.unlink()
    for media in ([folders[1]], folders):
        with open_volumes(media) as volumes:
            found = look(bundle, volumes, tmp_path)
            with pytest.raises(MissingError) as caught:
                list_volume(volumes, found)
        assert caught.value.where == str(gone.relative_to(folders[1]))


def test_a_bundle_without_a_hint_must_be_whole(
    tmp_path: Path, bundle: Published
) -> None:
    chunks_in(bundle.folder)[0].unlink()
    with open_volumes([bundle.folder]) as volumes:
        found = look(bundle, volumes, tmp_path)
        with pytest.raises(MissingError):
            list_volume(volumes, found)


def test_foreign_chunks_are_named_and_not_read(
    tmp_path: Path, bundle: Published
) -> None:
    stranger = "ab" + "0" * 62
    (bundle.folder / "c" / "ab").mkdir(exist_ok=True)
    (bundle.folder / "c" / "ab" / stranger).symlink_to("/nowhere")
    (bundle.folder / "c" / "ab" / "README").write_text("x")
    (bundle.folder / "c" / "notes").mkdir()
    with open_volumes([bundle.folder]) as volumes:
        found = look(bundle, volumes, tmp_path)
        contents = list_volume(volumes, found)
        verify_volume(volumes, found, contents=contents, progress=id)
    assert contents.foreign == (stranger,)
    assert contents.whole


def test_a_link_in_the_place_of_a_chunk_is_refused(
    tmp_path: Path, bundle: Published, folders: tuple[Path, ...]
) -> None:
    chunk = chunks_in(folders[0])[0]
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with open_volumes(folders) as volumes:
        found = look(bundle, volumes, tmp_path)
        with pytest.raises(MalformedError):
            list_volume(volumes, found)


def test_metadata_that_was_changed_on_a_later_volume_is_foreign(
    folders: tuple[Path, ...],
) -> None:
    path = folders[2] / TIMESTAMP_PATH
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ConflictError) as caught:
        open_volumes(folders)
    assert caught.value.where == str(folders[2])
