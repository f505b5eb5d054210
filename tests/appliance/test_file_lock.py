"""Locks between processes: one holder, and errors that say what went wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.errors import HostNotReadyError
from appliance.file_lock import exclusive_folder_lock, exclusive_lock
from appliance.intake.lock import hold_import_lock
from bundleformat.errors import Error, StorageFaultError

BUSY = HostNotReadyError("another process is at it", where="here")
Lock = Callable[[Path], AbstractContextManager[None]]


def file_lock(path: Path) -> AbstractContextManager[None]:
    return exclusive_lock(path / "a.lock", busy=BUSY)


def folder_lock(path: Path) -> AbstractContextManager[None]:
    return exclusive_folder_lock(path, busy=BUSY)


LOCKS = pytest.mark.parametrize("lock", [file_lock, folder_lock])


@LOCKS
def test_a_lock_has_one_holder_and_is_free_afterwards(
    lock: Lock, tmp_path: Path
) -> None:
    with lock(tmp_path):
        with pytest.raises(Error) as caught, lock(tmp_path):
            pytest.fail("two processes hold it")
        assert caught.value is BUSY
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("lock", [file_lock, folder_lock, hold_import_lock])
@pytest.mark.parametrize("error", [BlockingIOError(11, "medium"), OSError(5, "disk")])
def test_what_the_block_raises_is_its_own(
    lock: Lock, error: OSError, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=error.strerror or "") as caught, lock(tmp_path):
        raise error
    assert caught.value is error
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("lock", [file_lock, folder_lock, hold_import_lock])
def test_a_lock_where_there_is_no_folder_is_a_fault_and_makes_nothing(
    lock: Lock, tmp_path: Path
) -> None:
    with pytest.raises(StorageFaultError) as caught, lock(tmp_path / "absent"):
        pytest.fail("it was locked")
    assert caught.value.where.startswith(str(tmp_path / "absent"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFaultError), file_lock(tmp_path):
        pytest.fail("it was locked")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageFaultError) as caught, folder_lock(tmp_path):
        pytest.fail("it was locked")
    assert caught.value.actual == "No locks available"
