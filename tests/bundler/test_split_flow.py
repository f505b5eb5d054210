import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    LimitExceededError,
    MalformedError,
    MissingError,
    StorageFaultError,
    VolumesMissingError,
)
from bundleformat.layout import VOLUME_HINT_PATH
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundleformat.verify import verify_chunks
from bundleformat.volume_hint import parse
from tests.support.publisher import Published, next_version
from tests.support.volumes import (
    SHARED_CLUSTERS,
    VOLUME_BYTES,
    InterruptingMeter,
    chunks_in,
    files_of,
    full_disk,
    look,
    publish,
    split,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Published:
    return publish(tmp_path / "bundle")


def refuses(
    bundle: Published, tmp_path: Path, error: type[Error], **options: object
) -> Error:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as caught:
        split(bundle, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert sorted(tmp_path.iterdir()) == before
    return caught.value


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def shrink(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (change_a_byte, DigestMismatchError),
        (grow, DigestMismatchError),
        (shrink, DigestMismatchError),
        (Path.unlink, MissingError),
        (link, MalformedError),
    ],
)
@pytest.mark.parametrize("which", [0, 2, -1])
def test_a_damaged_chunk_stops_the_split_and_nothing_is_left(
    tmp_path: Path,
    bundle: Published,
    damage: Callable[[Path], None],
    error: type[Error],
    which: int,
) -> None:
    path = chunks_in(bundle.folder)[which]
    damage(path)
    caught = refuses(bundle, tmp_path, error)
    assert caught.where == str(path.relative_to(bundle.folder))


def test_a_folder_that_is_there_is_not_written_to(
    tmp_path: Path, bundle: Published
) -> None:
    (tmp_path / "out").mkdir()
    refuses(bundle, tmp_path, ConflictError)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("missing_bytes", [1, VOLUME_BYTES - 1])
def test_a_chunk_larger_than_a_volume_is_refused_with_a_hint(
    tmp_path: Path, bundle: Published, missing_bytes: int
) -> None:
    smallest = (SHARED_CLUSTERS + 2) * 2**15 + 67
    volume_bytes = max(1, smallest - missing_bytes)
    error = refuses(bundle, tmp_path, LimitExceededError, volume_bytes=volume_bytes)
    assert error.where.startswith("c/")
    assert error.hint
    assert len(split(bundle, tmp_path / "out", volume_bytes=smallest)) == 6


def test_every_volume_is_complete_and_the_chunks_are_shared_out(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "out")
    assert [folder.name for folder in folders] == [
        f"volume-{k}-of-3" for k in (1, 2, 3)
    ]
    whole = files_of(bundle.folder)
    seen: dict[str, bytes] = {}
    for number, folder in enumerate(folders, start=1):
        found = files_of(folder)
        hint = parse(found.pop(VOLUME_HINT_PATH), limits=DEFAULT_LIMITS)
        chunks = {path: data for path, data in found.items() if path.startswith("c/")}
        assert (hint.volume, hint.of, hint.since) == (number, 3, None)
        assert [f"c/{sha[:2]}/{sha}" for sha in hint.chunks] == sorted(chunks)
        assert {**found, **chunks} == {
            path: data
            for path, data in whole.items()
            if not path.startswith("c/") or path in chunks
        }
        assert not seen.keys() & chunks.keys()
        seen |= chunks
    assert seen == {path: d for path, d in whole.items() if path.startswith("c/")}


def test_chunks_follow_one_another_as_in_the_manifest(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "out")
    order = [c.sha256 for a in bundle.manifest.artifacts for c in a.chunks]
    places = [
        next(k for k, f in enumerate(folders) if (f / "c" / s[:2] / s).exists())
        for s in order
    ]
    assert places == sorted(places)


def test_the_volumes_together_are_the_bundle_in_any_order(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "out")
    for order in itertools.permutations(folders):
        with open_volumes(order) as volumes:
            found = look(bundle, volumes, tmp_path)
            done: list[int] = []
            verify_chunks(volumes, found, progress=done.append)
        assert sum(done) == sum(a.size_bytes for a in bundle.manifest.artifacts)


def test_splitting_twice_gives_the_same_bytes(
    tmp_path: Path, bundle: Published
) -> None:
    split(bundle, tmp_path / "one")
    split(bundle, tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_volumes_are_split_again_onto_larger_ones(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "small")
    large = VOLUME_BYTES + 4 * 2**15
    again = split(bundle, tmp_path / "large", media=folders[::-1], volume_bytes=large)
    split(bundle, tmp_path / "direct", volume_bytes=large)
    assert len(again) == 2
    assert files_of(tmp_path / "large") == files_of(tmp_path / "direct")


def test_a_volume_that_is_not_at_hand_is_named(
    tmp_path: Path, bundle: Published
) -> None:
    folders = split(bundle, tmp_path / "volumes")
    error = refuses(bundle, tmp_path, VolumesMissingError, media=folders[::2])
    assert isinstance(error, VolumesMissingError)
    assert error.volumes == (2,)
    assert error.exit_status == 5


def test_a_volume_of_another_bundle_is_named(tmp_path: Path, bundle: Published) -> None:
    folders = split(bundle, tmp_path / "volumes")
    other = next_version(bundle, tmp_path / "other")
    strangers = split(other, tmp_path / "strangers")
    media = [folders[0], strangers[1], folders[2]]
    error = refuses(bundle, tmp_path, ConflictError, media=media)
    assert error.where == str(strangers[1])


def test_an_installer_travels_on_every_volume(
    tmp_path: Path, bundle: Published
) -> None:
    (bundle.folder / "install.py").write_text("print()\n")
    (bundle.folder / "other.txt").write_text("not of a bundle\n")
    for folder in split(bundle, tmp_path / "out"):
        assert (folder / "install.py").read_text() == "print()\n"
        assert not (folder / "other.txt").exists()


@pytest.mark.parametrize("after", [1, 4, 6])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, bundle: Published, after: int
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        split(bundle, tmp_path / "out", meter=InterruptingMeter(after=after))
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_a_fault_and_nothing_is_left(
    tmp_path: Path, bundle: Published
) -> None:
    before = sorted(tmp_path.iterdir())
    with full_disk(file_bytes=1_000), pytest.raises(StorageFaultError):
        split(bundle, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_the_source_may_be_read_only(tmp_path: Path, bundle: Published) -> None:
    before = files_of(bundle.folder)
    for path in bundle.folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folders = split(bundle, tmp_path / "out")
    assert files_of(bundle.folder) == before
    shutil.rmtree(folders[0])
