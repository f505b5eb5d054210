"""A home that is not its owner's alone: refused before anything in it is used."""

import os
from pathlib import Path

import pytest

from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.errors import HostNotReadyError
from appliance.home import Home
from tests.support.importing import Clock
from tests.support.publisher import Published, publish_bundle


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return publish_bundle(tmp_path / "bundle", policies=[("local", b"// a policy\n")])


@pytest.fixture
def home(tmp_path: Path, published: Published) -> Home:
    """A commissioned home."""
    home = Home(tmp_path / "home")
    commission(home, published)
    return home


def commission(home: Home, bundle: Published) -> None:
    """Run ``trust init``."""
    initialise_trust(home, bundle.root, fingerprint=bundle.fingerprint, clock=Clock())


def refusal(home: Home, bundle: Published) -> HostNotReadyError:
    """Return why the home is not opened, which is why it is not commissioned."""
    with pytest.raises(HostNotReadyError) as opening:
        open_host(home.root)
    with pytest.raises(HostNotReadyError) as commissioning:
        commission(home, bundle)
    assert str(opening.value) == str(commissioning.value)
    assert opening.value.hint
    return opening.value


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("place", [".", "keys"])
def test_a_folder_that_others_may_write_to_is_refused(
    home: Home, published: Published, place: str, mode: int
) -> None:
    (home.root / place).chmod(mode)
    error = refusal(home, published)
    assert error.where == str(home.root / place)
    assert (error.expected, error.actual) == (f"{mode & ~0o022:o}", f"{mode:o}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("place", [".", "keys"])
def test_a_folder_of_another_user_is_refused(
    home: Home, published: Published, place: str
) -> None:
    os.chown(home.root / place, 12_345, -1)
    error = refusal(home, published)
    assert error.where == str(home.root / place)
    assert (error.expected, error.actual) == ("uid 0", "uid 12345")


def test_nothing_is_made_in_a_folder_that_others_may_write_to(
    tmp_path: Path, published: Published
) -> None:
    home = Home(tmp_path / "shared")
    home.root.mkdir()
    home.root.chmod(0o777)
    with pytest.raises(HostNotReadyError):
        commission(home, published)
    assert list(home.root.iterdir()) == []


def test_a_folder_that_others_may_only_read_is_accepted(home: Home) -> None:
    home.root.chmod(0o755)
    open_host(home.root).database.dispose()


@pytest.mark.parametrize("size_bytes", [0, 31, 33])
def test_a_pepper_of_another_size_is_refused(
    home: Home, published: Published, size_bytes: int
) -> None:
    home.pepper.write_bytes(bytes(size_bytes))
    error = refusal(home, published)
    assert error.where == str(home.pepper)
    assert (error.expected, error.actual) == ("32 bytes", f"{size_bytes} bytes")


def test_a_fifo_in_the_place_of_the_pepper_is_refused_and_nobody_waits(
    home: Home, published: Published
) -> None:
    home.pepper.unlink()
    os.mkfifo(home.pepper, 0o600)
    assert refusal(home, published).where == str(home.pepper)
