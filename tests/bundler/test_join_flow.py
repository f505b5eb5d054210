import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    MissingError,
    StorageFaultError,
    VolumesMissingError,
)
from bundleformat.layout import VOLUME_HINT_PATH
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_medium, open_volumes
from bundleformat.single_file import SingleFile
from bundleformat.verify import verify_chunks
from bundleformat.volume_hint import VolumeHint, encode, parse
from bundler.join_flow import join_bundle
from bundler.new_file import new_file
from bundler.progress import Meter, SilentMeter
from tests.support.publisher import NOW, Published, next_version, republish
from tests.support.volumes import (
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


@pytest.fixture
def volumes(tmp_path: Path, bundle: Published) -> tuple[Path, ...]:
    return split(bundle, tmp_path / "volumes")


def join(
    bundle: Published,
    media: Sequence[Path],
    out: Path,
    *,
    meter: Meter | None = None,
) -> None:
    with open_volumes(media) as opened:
        join_bundle(
            opened,
            look(bundle, opened, out.parent),
            out=out,
            limits=DEFAULT_LIMITS,
            meter=meter or SilentMeter(),
        )


@pytest.fixture(params=["out", "out.mbundle"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def refuses(
    bundle: Published, media: Sequence[Path], out: Path, error: type[Error]
) -> Error:
    before = sorted(out.parent.iterdir())
    with pytest.raises(error) as caught:
        join(bundle, media, out)
    assert type(caught.value) is error
    assert sorted(out.parent.iterdir()) == before
    return caught.value


def test_a_missing_volume_is_named(
    bundle: Published, volumes: tuple[Path, ...], out: Path
) -> None:
    for missing in (1, 2, 3):
        here = [folder for k, folder in enumerate(volumes, start=1) if k != missing]
        error = refuses(bundle, here, out, VolumesMissingError)
        assert isinstance(error, VolumesMissingError)
        assert error.volumes == (missing,)
        alone = refuses(bundle, here[:1], out, VolumesMissingError)
        assert isinstance(alone, VolumesMissingError)
        assert len(alone.volumes) == 2


def test_a_foreign_volume_is_named(
    tmp_path: Path, bundle: Published, volumes: tuple[Path, ...], out: Path
) -> None:
    other = split(next_version(bundle, tmp_path / "b2"), tmp_path / "v2")
    media = [volumes[0], volumes[1], other[2]]
    assert refuses(bundle, media, out, ConflictError).where == str(other[2])


def test_a_chunk_that_is_gone_from_its_volume_is_named(
    bundle: Published, volumes: tuple[Path, ...], out: Path
) -> None:
    chunk = chunks_in(volumes[1])[0]
    chunk.unlink()
    error = refuses(bundle, volumes, out, MissingError)
    assert error.where == str(chunk.relative_to(volumes[1]))


def test_a_changed_byte_is_refused_and_nothing_is_left(
    bundle: Published, volumes: tuple[Path, ...], out: Path
) -> None:
    chunk = chunks_in(volumes[2])[-1]
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    error = refuses(bundle, volumes, out, DigestMismatchError)
    assert error.where == str(chunk.relative_to(volumes[2]))


def test_what_is_there_is_not_overwritten(
    bundle: Published, volumes: tuple[Path, ...], out: Path
) -> None:
    out.write_bytes(b"mine")
    refuses(bundle, volumes, out, ConflictError)
    assert out.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "x.mbundle"

    def write() -> None:
        with new_file(out) as file:
            file.write(b"ours")
            out.write_bytes(b"theirs")

    with pytest.raises(ConflictError):
        write()
    assert files_of(tmp_path) == {"x.mbundle": b"theirs"}


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFaultError), new_file(tmp_path / "file" / "x.mbundle"):
        pass


def test_a_joined_folder_is_the_bundle_as_it_was(
    tmp_path: Path, bundle: Published, volumes: tuple[Path, ...]
) -> None:
    join(bundle, volumes[::-1], tmp_path / "out")
    found = files_of(tmp_path / "out")
    hint = parse(found.pop(VOLUME_HINT_PATH), limits=DEFAULT_LIMITS)
    assert found == files_of(bundle.folder)
    assert (hint.volume, hint.of, hint.since) == (1, 1, None)
    assert len(hint.chunks) == len(chunks_in(bundle.folder))


def test_a_volume_given_twice_does_no_harm(
    tmp_path: Path, bundle: Published, volumes: tuple[Path, ...]
) -> None:
    shutil.copytree(volumes[1], tmp_path / "copy")
    join(bundle, [*volumes, tmp_path / "copy"], tmp_path / "out")
    join(bundle, volumes, tmp_path / "other")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other")


def test_a_single_file_is_the_bundle_and_always_the_same(
    tmp_path: Path, bundle: Published, volumes: tuple[Path, ...]
) -> None:
    join(bundle, volumes, tmp_path / "one.mbundle")
    join(bundle, [bundle.folder], tmp_path / "two.mbundle")
    assert (tmp_path / "one.mbundle").read_bytes() == (
        tmp_path / "two.mbundle"
    ).read_bytes()
    with open_medium(tmp_path / "one.mbundle") as medium:
        assert isinstance(medium, SingleFile)
        found = look(bundle, medium, tmp_path)
        verify_chunks(medium, found, progress=lambda _: None)
    assert (tmp_path / "one.mbundle").stat().st_mode & 0o777 == 0o644


def test_a_single_file_becomes_the_folder_again(
    tmp_path: Path, bundle: Published
) -> None:
    join(bundle, [bundle.folder], tmp_path / "x.mbundle")
    join(bundle, [tmp_path / "x.mbundle"], tmp_path / "out")
    join(bundle, [bundle.folder], tmp_path / "direct")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "direct")


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_unpacks_what_we_write(
    tmp_path: Path, bundle: Published, volumes: tuple[Path, ...]
) -> None:
    join(bundle, volumes, tmp_path / "x.mbundle")
    join(bundle, volumes, tmp_path / "folder")
    (tmp_path / "by-tar").mkdir()
    done = subprocess.run(
        ["tar", "-xf", tmp_path / "x.mbundle", "-C", tmp_path / "by-tar"],  # noqa: S607
        check=True,
        capture_output=True,
    )
    assert done.stderr == b""
    assert files_of(tmp_path / "by-tar") == files_of(tmp_path / "folder")
    times = {p.stat().st_mtime for p in (tmp_path / "by-tar").rglob("*.json")}
    assert times == {NOW.timestamp()}


def test_metadata_comes_first_in_a_single_file(
    tmp_path: Path, bundle: Published
) -> None:
    join(bundle, [bundle.folder], tmp_path / "x.mbundle")
    with SingleFile(tmp_path / "x.mbundle") as medium:
        order = list(medium._files)
    assert [path.split("/")[0] for path in order] == (
        ["metadata"] * 4 + ["targets", "BUNDLE.txt", "volume.json"] + ["c"] * 6
    )
    assert order[7:] == sorted(order[7:])


def differential(bundle: Published, out: Path) -> Published:
    """Return a bundle whose first chunk lies on hosts of an older version only."""
    newer = next_version(bundle, out)
    chunk = chunks_in(newer.folder)[0]
    chunk.unlink()
    here = sorted(path.name for path in chunks_in(newer.folder))
    hint = VolumeHint(
        channel=newer.manifest.channel,
        version=2,
        volume=1,
        of=1,
        since=1,
        chunks=tuple(here),  # type: ignore[arg-type]
    )
    (newer.folder / VOLUME_HINT_PATH).write_bytes(encode(hint))
    return newer


def test_a_differential_bundle_is_split_and_joined_as_one(
    tmp_path: Path, bundle: Published
) -> None:
    newer = differential(bundle, tmp_path / "newer")
    folders = split(newer, tmp_path / "parts")
    hints = [
        parse((f / VOLUME_HINT_PATH).read_bytes(), limits=DEFAULT_LIMITS)
        for f in folders
    ]
    assert [(hint.volume, hint.since) for hint in hints] == [(1, 1), (2, 1), (3, 1)]
    join(newer, folders, tmp_path / "joined")
    assert files_of(tmp_path / "joined") == files_of(newer.folder)
    refuses(newer, folders[:2], tmp_path / "out", VolumesMissingError)


def test_a_trust_only_bundle_travels_like_any_other(
    tmp_path: Path, bundle: Published, out: Path
) -> None:
    manifest = replace(bundle.manifest, version=2, artifacts=(), purpose="trust")
    trust = republish(bundle, tmp_path / "trust", manifest=manifest)
    for path in chunks_in(trust.folder):
        path.unlink()
    (folder,) = split(trust, tmp_path / "parts")
    join(trust, [folder], out)
    with open_volumes([out]) as volumes:
        assert look(trust, volumes, tmp_path).manifest.artifacts == ()


def test_a_listed_chunk_of_a_differential_bundle_must_be_there(
    tmp_path: Path, bundle: Published, out: Path
) -> None:
    newer = differential(bundle, tmp_path / "newer")
    chunks_in(newer.folder)[0].unlink()
    refuses(newer, [newer.folder], out, MissingError)


@pytest.mark.parametrize("file_bytes", [0, 5_000, 15_000])
def test_a_full_disk_is_a_fault_and_nothing_is_left(
    tmp_path: Path, bundle: Published, file_bytes: int
) -> None:
    before = sorted(tmp_path.iterdir())
    with full_disk(file_bytes=file_bytes), pytest.raises(StorageFaultError):
        join(bundle, [bundle.folder], tmp_path / "x.mbundle")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("after", [1, 6])
def test_an_interrupt_leaves_nothing(
    bundle: Published, volumes: tuple[Path, ...], out: Path, after: int
) -> None:
    before = sorted(out.parent.iterdir())
    with pytest.raises(KeyboardInterrupt):
        join(bundle, volumes, out, meter=InterruptingMeter(after=after))
    assert sorted(out.parent.iterdir()) == before
