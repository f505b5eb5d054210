"""Chunks that a bundle leaves out, because the host has them inside other files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundleformat.digest import Sha256
from bundleformat.errors import DigestMismatchError, MissingError, VolumesMissingError
from bundleformat.layout import chunk_path
from tests.support.import_volumes import chunks_of, write_volume
from tests.support.importing import (
    Host,
    import_bundle,
    new_host,
    preview_import,
    refuse,
)
from tests.support.publisher import Published, publish_bundle

CHUNK = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Releases:
    """Two versions of a model that share their first and third chunks."""

    first: Published
    second: Published
    differential: Path
    shared: frozenset[Sha256]


@pytest.fixture
def releases(tmp_path: Path, tiny: Path) -> Releases:
    old = bytearray(tiny.read_bytes())
    new = bytearray(old)
    # The last byte of a tensor, and of the chunk before the last.
    new[-1] ^= 1
    names = {"old": bytes(old), "new": bytes(new)}
    for name, data in names.items():
        (tmp_path / f"{name}.gguf").write_bytes(data)
    first = publish_bundle(
        tmp_path / "first",
        models=[("tiny", tmp_path / "old.gguf", None)],
        chunk_bytes=CHUNK,
    )
    second = publish_bundle(
        tmp_path / "second",
        models=[("tiny", tmp_path / "new.gguf", None)],
        version=2,
        keys=first.keys,
        roots=first.roots,
        chunk_bytes=CHUNK,
    )
    shared = frozenset(chunks_of(first)) & frozenset(chunks_of(second))
    assert shared
    differential = write_volume(
        second,
        tmp_path / "differential",
        [each for each in chunks_of(second) if each not in shared],
        since=1,
    )
    return Releases(
        first=first, second=second, differential=differential, shared=shared
    )


@pytest.fixture
def basis(tmp_path: Path, releases: Releases) -> Host:
    host = new_host(tmp_path / "basis", releases.first)
    import_bundle(host.parts(), releases.first.folder)
    return host


def test_a_differential_bundle_is_refused_where_its_basis_is_not(
    tmp_path: Path, releases: Releases
) -> None:
    host = new_host(tmp_path / "home", releases.first)
    error = refuse(host, releases.differential, MissingError)
    assert error.expected == "bundle 1 of channel main here"
    assert error.where == str(releases.differential)
    record = json.loads(host.events("bundle.refused")[0])
    assert record["step"] == "preflight"
    host.close()


def flip_first(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [flip_first, Path.unlink, lambda path: (path.unlink(), path.mkdir())]
)
def test_a_differential_bundle_is_refused_where_its_basis_decayed(
    basis: Host, releases: Releases, damage: Callable[[Path], object]
) -> None:
    path = basis.store.path_of(releases.first.manifest.artifacts[0].sha256)
    damage(path)
    with pytest.raises(MissingError) as caught:
        import_bundle(basis.parts(), releases.differential)
    assert caught.value.expected == "bundle 1 of channel main here"
    assert list(basis.staging.iterdir()) == []
    assert len(basis.events("bundle.refused")) == 1
    # The whole bundle does not need it.
    import_bundle(basis.parts(), releases.second.folder)
    assert basis.active() == {"main": 2}


def test_a_differential_bundle_takes_the_rest_from_the_store(
    basis: Host, releases: Releases
) -> None:
    plan = preview_import(basis.parts(), releases.differential)
    assert plan.reused_bytes > 0
    assert plan.volumes_wanted == ()
    import_bundle(basis.parts(), releases.differential)
    assert basis.active() == {"main": 2}
    receipt = json.loads(basis.events("bundle.imported")[-1])
    (model,) = releases.second.manifest.artifacts
    reused = sum(c.size_bytes for c in model.chunks if c.sha256 in releases.shared)
    assert receipt["reused_bytes"] == reused == plan.reused_bytes
    assert receipt["copied_bytes"] == model.size_bytes - reused
    stored = basis.store.path_of(model.sha256)
    assert (
        stored.stat().st_ino
        != basis.store.path_of(releases.first.manifest.artifacts[0].sha256)
        .stat()
        .st_ino
    )


def test_a_chunk_that_differs_on_the_medium_is_not_spared_by_a_good_one_in_the_store(
    basis: Host, releases: Releases
) -> None:
    shared = min(releases.shared)
    (releases.second.folder / chunk_path(shared)).write_bytes(b"x")
    refuse(basis, releases.second.folder, DigestMismatchError)


def test_a_lost_volume_is_spared_by_what_the_store_has(
    basis: Host, releases: Releases, tmp_path: Path
) -> None:
    fresh = [each for each in chunks_of(releases.second) if each not in releases.shared]
    only = write_volume(releases.second, tmp_path / "only", fresh, volume=2, of=2)
    import_bundle(basis.parts(), only)
    assert basis.active() == {"main": 2}


def test_a_differential_bundle_on_volumes_asks_for_volumes_first(
    basis: Host, releases: Releases, tmp_path: Path
) -> None:
    fresh = [each for each in chunks_of(releases.second) if each not in releases.shared]
    empty = write_volume(
        releases.second, tmp_path / "empty", [], volume=1, of=2, since=1
    )
    rest = write_volume(
        releases.second, tmp_path / "rest", fresh, volume=2, of=2, since=1
    )
    with pytest.raises(VolumesMissingError) as caught:
        import_bundle(basis.parts(), empty)
    assert caught.value.volumes == (2,)
    import_bundle(basis.parts(), rest)
    assert basis.active() == {"main": 2}


def test_chunks_of_an_inactive_generation_are_found_too(
    basis: Host, releases: Releases, tmp_path: Path
) -> None:
    other = publish_bundle(
        tmp_path / "other",
        policies=[("p", b"// p\n")],
        version=2,
        keys=releases.first.keys,
        roots=releases.first.roots,
    )
    import_bundle(basis.parts(), other.folder)
    third = publish_bundle(
        tmp_path / "third",
        models=[("tiny", tmp_path / "new.gguf", None)],
        version=3,
        keys=releases.first.keys,
        roots=releases.first.roots,
        chunk_bytes=CHUNK,
    )
    fresh = [each for each in chunks_of(third) if each not in releases.shared]
    medium = write_volume(third, tmp_path / "third-only", fresh, since=1)
    import_bundle(basis.parts(), medium)
    assert basis.active() == {"main": 3}
