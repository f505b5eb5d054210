"""The content-addressed store: whole files or none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.registry.store import Store
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import MissingError, StorageFaultError

DATA = b"weights"
DIGEST = sha256_of(DATA)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def staged(folder: Path, data: bytes = DATA) -> Path:
    path = folder / "staged"
    path.write_bytes(data)
    return path


def test_admitted_file_is_read_only_and_no_longer_staged(
    store: Store, tmp_path: Path
) -> None:
    path = store.admit(staged(tmp_path), DIGEST)
    assert path == store.path_of(DIGEST) == tmp_path / "store" / "sha256" / DIGEST
    assert path.stat().st_mode & 0o777 == 0o444
    assert not (tmp_path / "staged").exists()
    assert store.has(DIGEST)
    with store.open(DIGEST) as file:
        assert file.read() == DATA


def test_a_file_that_was_never_admitted_is_missing(store: Store) -> None:
    assert not store.has(DIGEST)
    assert not store.holds_intact(DIGEST, size_bytes=len(DATA))
    with pytest.raises(MissingError) as caught:
        store.open(DIGEST)
    assert caught.value.where == DIGEST


@pytest.mark.parametrize("decayed", [b"Weights", b"weight", b"weightss", b""])
def test_a_decayed_file_is_not_intact_and_admitting_it_again_repairs_it(
    store: Store, tmp_path: Path, decayed: bytes
) -> None:
    path = store.admit(staged(tmp_path), DIGEST)
    assert store.holds_intact(DIGEST, size_bytes=len(DATA))
    path.chmod(0o600)
    path.write_bytes(decayed)
    assert not store.holds_intact(DIGEST, size_bytes=len(DATA))
    store.admit(staged(tmp_path), DIGEST)
    assert store.holds_intact(DIGEST, size_bytes=len(DATA))


def test_admitting_across_file_systems_is_a_fault_and_leaves_the_copy(
    store: Store, tmp_path: Path
) -> None:
    elsewhere = Path("/dev/shm")  # noqa: S108 - another file system is the point
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    path = staged(elsewhere) if os.access(elsewhere, os.W_OK) else None
    if path is None:
        pytest.skip("the second file system cannot be written")
    try:
        with pytest.raises(StorageFaultError):
            store.admit(path, DIGEST)
        assert path.read_bytes() == DATA
        assert not store.has(DIGEST)
    finally:
        path.unlink()


def test_a_folder_in_the_place_of_a_file_is_not_that_file(store: Store) -> None:
    store.path_of(DIGEST).mkdir(parents=True)
    assert not store.has(DIGEST)
    with pytest.raises(StorageFaultError):
        store.holds_intact(DIGEST, size_bytes=len(DATA))


@pytest.mark.parametrize("opened", [Store.open, Store.has])
def test_a_stored_file_that_cannot_be_reached_is_a_fault_and_not_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., object]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "open", broken)
    monkeypatch.setattr(Path, "is_file", broken)
    with pytest.raises(StorageFaultError) as caught:
        opened(store, DIGEST)
    assert caught.value.where == str(store.path_of(DIGEST))
    assert caught.value.actual == os.strerror(errno.EIO)


def test_places_are_made_of_digests_alone(store: Store, tmp_path: Path) -> None:
    other = Sha256("0" * 64)
    assert store.path_of(other).parent == tmp_path / "store" / "sha256"
