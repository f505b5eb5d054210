"""Staged copies: resumed from what is really on disk, never from what is claimed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.intake.copying import ArtifactCopy, Progress, Source
from appliance.intake.hashing import Hashers
from appliance.intake.lock import hold_import_lock
from appliance.intake.staging import Staging
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import DigestMismatchError, StorageFaultError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from bundleformat.paths import ArchivePath, Name
from bundleformat.volume import Volume

CHUNKS = (b"first chunk", b"second", b"the third and last")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    folder = tmp_path / "volume"
    for data in CHUNKS:
        path = folder / chunk_path(sha256_of(data))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Volume(folder) as volume:
        yield volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "staging").mkdir()
    return tmp_path / "staging"


def artifact(sha256: Sha256 | None = None) -> Artifact:
    return Artifact(
        kind="model",
        name=Name("tiny"),
        path=ArchivePath("models/tiny.gguf"),
        size_bytes=sum(map(len, CHUNKS)),
        sha256=sha256 or sha256_of(b"".join(CHUNKS)),
        chunks=tuple(
            Chunk(sha256=sha256_of(data), size_bytes=len(data)) for data in CHUNKS
        ),
    )


def chunk_file(volume: Volume, index: int) -> Path:
    return volume.folder / chunk_path(sha256_of(CHUNKS[index]))


def copy(
    folder: Path,
    volume: Volume,
    wanted: Artifact | None = None,
    *,
    progress: Progress = lambda _: None,
) -> ArtifactCopy:
    """Copy every chunk that the volume has."""

    def find(chunk: Chunk) -> Iterator[Source]:
        where = chunk_path(chunk.sha256)
        if volume.exists(where):
            yield Source(where=where, open=lambda: volume.open(where))

    with Hashers() as hashers:
        staged = Staging(folder).copy_of(wanted or artifact(), hashers=hashers)
        lacking.append(staged.fill(find, progress=progress))
    return staged


lacking: list[tuple[Chunk, ...]] = []
"""What each ``copy`` could not find, the last one last."""


def interrupt(folder: Path, volume: Volume, *, missing: int) -> Path:
    """Leave a copy that stopped at chunk ``missing``, and remove earlier ones."""
    chunk_file(volume, missing).rename(volume.folder / "taken")
    copy(folder, volume)
    assert [each.sha256 for each in lacking[-1]] == [sha256_of(CHUNKS[missing])]
    (volume.folder / "taken").rename(chunk_file(volume, missing))
    (part,) = folder.glob("*.part")
    return part


def test_copy_is_private_whole_and_counted(folder: Path, volume: Volume) -> None:
    counted: list[int] = []
    staged = copy(folder, volume, progress=counted.append)
    assert staged.path.read_bytes() == b"".join(CHUNKS)
    assert staged.path.stat().st_mode & 0o777 == 0o600
    assert sum(counted) == artifact().size_bytes


def test_interrupted_copy_needs_only_the_rest_of_the_medium(
    folder: Path, volume: Volume
) -> None:
    interrupt(folder, volume, missing=2)
    chunk_file(volume, 0).unlink()
    chunk_file(volume, 1).unlink()
    counted: list[int] = []
    staged = copy(folder, volume, progress=counted.append)
    assert staged.path.read_bytes() == b"".join(CHUNKS)
    assert sum(counted) == artifact().size_bytes


@pytest.mark.parametrize(
    "journal", [b"", b"0\n", b"0\n1\n2\n", b"0\n1", b"\xff\n9\n-1\n"]
)
def test_a_journal_is_only_a_hint(folder: Path, volume: Volume, journal: bytes) -> None:
    part = interrupt(folder, volume, missing=2)
    part.with_suffix(".journal").write_bytes(journal)
    staged = copy(folder, volume)
    assert staged.path.read_bytes() == b"".join(CHUNKS)


@pytest.mark.parametrize("damage", [b"", b"f", b"X" * 17, b"X" * 4096])
def test_a_damaged_copy_is_copied_again(
    folder: Path, volume: Volume, damage: bytes
) -> None:
    part = interrupt(folder, volume, missing=2)
    part.write_bytes(damage)
    staged = copy(folder, volume)
    assert staged.path.read_bytes() == b"".join(CHUNKS)


def test_a_link_in_the_place_of_a_copy_is_not_followed(
    folder: Path, volume: Volume, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (folder / f"{artifact().sha256}.part").symlink_to(victim)
    with pytest.raises(StorageFaultError):
        copy(folder, volume)
    assert victim.read_bytes() == b"untouched"


def test_good_chunks_that_do_not_make_the_artifact_are_refused(
    folder: Path, volume: Volume
) -> None:
    other = artifact(sha256_of(b"another file"))
    with pytest.raises(DigestMismatchError) as caught:
        copy(folder, volume, other)
    assert caught.value.where == "models/tiny.gguf"


def test_purge_keeps_what_it_is_told_and_nothing_else(
    folder: Path, volume: Volume
) -> None:
    kept = copy(folder, volume)
    (folder / f"{'0' * 64}.part").write_bytes(b"of another bundle")
    (folder / "trust-abc").mkdir()
    (folder / "trust-abc" / "timestamp.json").write_bytes(b"{}")
    (folder / "link").symlink_to(volume.folder)
    Staging(folder).purge(keep=[artifact().sha256])
    assert sorted(folder.iterdir()) == [kept.path.with_suffix(".journal"), kept.path]
    assert chunk_file(volume, 0).exists()
    Staging(folder).purge()
    assert list(folder.iterdir()) == []


def test_the_lock_needs_a_folder_and_makes_no_file(folder: Path) -> None:
    with hold_import_lock(folder):
        assert list(folder.iterdir()) == []
    with hold_import_lock(folder):
        pass
    with pytest.raises(StorageFaultError), hold_import_lock(folder / "absent"):
        pass


def test_a_copy_that_moved_on_is_known_until_it_is_forgotten(
    folder: Path, volume: Volume, tmp_path: Path
) -> None:
    staged, staging = copy(folder, volume), Staging(folder)
    sha256 = staged.artifact.sha256
    assert not staging.was_admitted(sha256)
    staged.path.rename(tmp_path / "admitted")
    assert staging.was_admitted(sha256)
    staging.forget(sha256)
    assert not staging.was_admitted(sha256)
    assert list(folder.iterdir()) == []
