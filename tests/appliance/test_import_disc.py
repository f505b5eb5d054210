"""A bundle on discs: from image files, from their devices, and mounted.

A kernel that lacks iso9660 cannot mount a disc; there, as ``iso/README.md`` says, a
person unpacks it with xorriso, which is tested everywhere.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from appliance.import_steps.host import Imported
from bundleformat.errors import DigestMismatchError, VolumesMissingError
from bundleformat.layout import chunk_path
from bundleformat.limits import DEFAULT_LIMITS
from bundler.media.iso_image import write_images
from bundler.media.volume_plan import CLUSTER_BYTES
from bundler.progress import SilentMeter
from tests.support.importing import Host, import_bundle, middle_chunk
from tests.support.publisher import Published
from tests.support.volumes import SHARED_CLUSTERS, look, split

XORRISO = shutil.which("xorriso")
pytestmark = pytest.mark.skipif(XORRISO is None, reason="xorriso is not installed")

VOLUME_BYTES = (SHARED_CLUSTERS + 10) * CLUSTER_BYTES
"""Room for three of the model's chunks, each in a folder of its own."""

READ_ONLY = "loop,ro,nodev,nosuid,noexec"


@pytest.fixture
def discs(bundle: Published, tmp_path: Path) -> tuple[Path, ...]:
    """The images of a bundle that needs two discs."""
    folders = split(bundle, tmp_path / "volumes", volume_bytes=VOLUME_BYTES)
    images = write_images(
        folders,
        out=tmp_path / "images",
        verify=partial(look, bundle, scratch=tmp_path),
        limits=DEFAULT_LIMITS,
        meter=SilentMeter(),
    )
    assert len(images) == 2
    return tuple(tmp_path / "images" / image.name for image in images)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def device_of(image: Path) -> Iterator[Path]:
    """Give the disc's device, as a drive would have it."""
    done = run("/sbin/losetup", "--read-only", "--find", "--show", image)
    if done.returncode:
        pytest.skip(f"no loop device can be set up here: {done.stderr.strip()}")
    try:
        yield Path(done.stdout.strip())
    finally:
        run("/sbin/losetup", "--detach", done.stdout.strip())


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """Give the folder that the disc is mounted at."""
    if not re.search(r"\biso9660\b", Path("/proc/filesystems").read_text()):
        pytest.skip("this kernel has no iso9660 file system")
    place = image.with_suffix(".mounted")
    place.mkdir()
    done = run("/bin/mount", "-t", "iso9660", "-o", READ_ONLY, image, place)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(("/bin/umount", str(place)), check=True)


@contextmanager
def unpacked(image: Path) -> Iterator[Path]:
    """Give the folder that xorriso unpacked the disc to, as the recipe says."""
    assert XORRISO is not None
    place = image.with_suffix(".unpacked")
    done = run(
        *(XORRISO, "-no_rc", "-osirrox", "on", "-indev", image),
        *("-extract", "/", place),
    )
    assert done.returncode == 0, done.stderr
    yield place
    # The folders are read-only, as they are on a disc.
    run("/bin/chmod", "-R", "u+w", place)


@contextmanager
def as_a_file(image: Path) -> Iterator[Path]:
    yield image


WAYS = {
    "image files": as_a_file,
    "devices": device_of,
    "mounted discs": mounted,
    "unpacked discs": unpacked,
}


@pytest.mark.parametrize("way", list(WAYS))
def test_a_bundle_is_imported_from_discs(
    host: Host, discs: tuple[Path, ...], way: str
) -> None:
    before = [image.read_bytes() for image in discs]
    with ExitStack() as stack:
        media = [stack.enter_context(WAYS[way](image)) for image in discs]
        done: Imported = import_bundle(host.parts(), *media)
    assert (done.generation, done.already_active) == (1, False)
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    assert [image.read_bytes() for image in discs] == before


@pytest.mark.parametrize("way", list(WAYS))
def test_one_drive_is_enough_whichever_disc_comes_first(
    host: Host, discs: tuple[Path, ...], way: str
) -> None:
    second, first = reversed(discs)
    with WAYS[way](second) as medium, pytest.raises(VolumesMissingError) as caught:
        import_bundle(host.parts(), medium)
    assert caught.value.expected == "volume 1 of 2"
    assert host.active() == {}
    with WAYS[way](first) as medium:
        import_bundle(host.parts(), medium)
    assert host.active() == {"main": 1}


@pytest.mark.parametrize("way", list(WAYS))
def test_a_changed_byte_on_a_disc_is_refused(
    host: Host, bundle: Published, discs: tuple[Path, ...], way: str
) -> None:
    chunk = middle_chunk(bundle)
    data = chunk.read_bytes()
    (image,) = (each for each in discs if data in each.read_bytes())
    whole = bytearray(image.read_bytes())
    whole[whole.index(data) + len(data) // 2] ^= 1
    image.chmod(0o644)
    image.write_bytes(whole)
    with ExitStack() as stack:
        media = [stack.enter_context(WAYS[way](each)) for each in discs]
        error = refuse_all(host, media)
    assert error.where == chunk_path(bundle.manifest.artifacts[0].chunks[1].sha256)


def refuse_all(host: Host, media: list[Path]) -> DigestMismatchError:
    """Import volume after volume; the last that comes is refused."""
    with pytest.raises(DigestMismatchError) as caught:
        import_bundle(host.parts(), *media)
    assert list(host.staging.iterdir()) == []
    assert host.active() == {}
    assert len(host.events("bundle.refused")) == 1
    return caught.value
