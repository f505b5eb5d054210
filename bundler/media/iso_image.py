"""Writes volumes as ISO 9660 images with xorriso, and reads every one back.

Level 3 with Rock Ridge names. Owner, rights, order and every date are fixed, the
dates to the bundle's ``created``: the same volume gives the same image. What is on
an image is verified with our own reader before it gets its name, so neither xorriso
nor whoever writes to the folder meanwhile is believed.
"""

import datetime as dt
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bundleformat.errors import (
    ConflictError,
    MissingError,
    StorageFaultError,
    UsageError,
)
from bundleformat.iso9660 import IsoImage
from bundleformat.layout import VOLUME_HINT_PATH, chunk_path
from bundleformat.limits import Limits
from bundleformat.medium import Medium
from bundleformat.paths import ArchivePath
from bundleformat.verify import VerifiedBundle
from bundleformat.verify_volume import list_volume, verify_volume
from bundleformat.volume import Volume
from bundleformat.volume_set import VolumeSet
from bundler.media.bundle_files import chunks_at_hand, shared_files
from bundler.pack import check_absent, new_folder
from bundler.progress import Meter

PROGRAM: Final = "xorriso"
"""The program that writes images; part of every distribution."""

POLL_S: Final = 0.2
"""How often progress is looked at. Unit: seconds."""

MAX_MESSAGE_CHARACTERS: Final = 500
"""How much of what xorriso says is repeated when it fails."""

VerifyMetadata = Callable[[Medium], VerifiedBundle]
"""Returns the bundle on a medium, as somebody sees it who trusts a root."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that was written and read back.

    Attributes:
        name: Its file name.
        volume: Number of the volume on it.
        of: How many volumes the bundle has.
        size_bytes: Its length.
    """

    name: str
    volume: int
    of: int
    size_bytes: int


def write_images(
    folders: Sequence[Path],
    *,
    out: Path,
    verify: VerifyMetadata,
    limits: Limits,
    meter: Meter,
) -> tuple[Image, ...]:
    """Write an image of every volume in ``folders`` into ``out``, a new folder.

    Raises:
        ConflictError: ``out`` exists, or two folders hold the same volume.
        UsageError: A volume does not lie in a folder.
        MissingError: xorriso is not installed, or a volume lacks a chunk.
        RefusalError: A volume is not what was signed.
        StorageFaultError: The disk is full, a volume cannot be read, or xorriso
            failed.
    """
    check_absent(out)
    program = _program()
    images: list[Image] = []
    with new_folder(out) as folder:
        for source in folders:
            plan = _plan(source, verify=verify, limits=limits)
            if plan.name in {image.name for image in images}:
                raise ConflictError("the same volume twice", where=str(source))
            _make(program, plan, into=folder, meter=meter)
            images.append(
                _read_back(folder, plan, verify=verify, limits=limits, meter=meter)
            )
    return tuple(images)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """One image to make: from which folder, under which name, with which files."""

    source: Path
    name: str
    volume: int
    of: int
    created: dt.datetime
    paths: tuple[ArchivePath, ...]
    payload_bytes: int


def _plan(source: Path, *, verify: VerifyMetadata, limits: Limits) -> _Plan:
    if source.exists() and not source.is_dir():
        raise UsageError(
            "an image is made of a folder",
            where=str(source),
            hint="Put it into a folder first, with `sallyport-bundler join`.",
        )
    with VolumeSet([Volume(source)], limits=limits) as volumes:
        bundle = verify(volumes)
        contents = list_volume(volumes, bundle, limits=limits)
        shared = [path for path, _ in shared_files(volumes, bundle, limits=limits)]
        if volumes.exists(VOLUME_HINT_PATH):
            shared.append(VOLUME_HINT_PATH)
        numbers = (volumes.numbers()[0], volumes.of)
    chunks = chunks_at_hand(bundle, contents)
    manifest = bundle.manifest
    return _Plan(
        source=source,
        name=_name(f"{manifest.channel}-{manifest.version}", *numbers),
        volume=numbers[0],
        of=numbers[1],
        created=manifest.created,
        paths=(*shared, *(chunk_path(chunk.sha256) for chunk in chunks)),
        payload_bytes=sum(chunk.size_bytes for chunk in chunks),
    )


def _name(bundle: str, volume: int, of: int) -> str:
    return f"{bundle}-volume-{volume}-of-{of}.iso" if of > 1 else f"{bundle}.iso"


def volume_id(name: str) -> str:
    """Return what a disc calls itself: up to 32 of ``A-Z 0-9 _``.

    The end is kept, because it tells volumes apart.

    Source: ECMA-119, section 7.4.1 (d-characters) and 8.4.8.
    """
    text = name.removesuffix(".iso").replace("-volume", "").upper()
    return re.sub(r"[^A-Z0-9]", "_", text)[-32:]


def _make(program: str, plan: _Plan, *, into: Path, meter: Meter) -> None:
    image = into.resolve() / plan.name
    meter.stage(f"Writing {plan.name}", plan.payload_bytes)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        # Paths of a bundle hold neither "=" nor "\", which would need escapes.
        (scratch / "paths").write_text(
            "".join(f"/{path}={path}\n" for path in plan.paths), encoding="ascii"
        )
        with (scratch / "messages").open("w+b") as messages:
            status = _run(
                _command(program, plan, image=image, paths=scratch / "paths"),
                plan=plan,
                messages=messages,
                watch=lambda: _size(image),
                meter=meter,
            )
            messages.seek(0)
            said = messages.read().decode("utf-8", "replace")
    if status:
        raise StorageFaultError(
            "xorriso could not write the image",
            where=plan.name,
            actual=_last_words(said) or f"status {status}",
        )


def _command(program: str, plan: _Plan, *, image: Path, paths: Path) -> tuple[str, ...]:
    moment = f"{plan.created:%Y%m%d%H%M%S}00"
    return (
        # No startup file of a user or of the machine may change an image.
        *(program, "-no_rc", "-as", "mkisofs", "-quiet"),
        *("-iso-level", "3", "-r", "-V", volume_id(plan.name)),
        *("-sysid", "", "-publisher", "", "-p", "", "-A", "SALLYPORT BUNDLE"),
        f"--modification-date={moment}",
        *("--set_all_file_dates", moment),
        *("-o", str(image), "-graft-points", "-path-list", str(paths)),
    )


def _run(
    command: Sequence[str],
    *,
    plan: _Plan,
    messages: IO[bytes],
    watch: Callable[[], int],
    meter: Meter,
) -> int:
    seconds = int(plan.created.timestamp())
    process = subprocess.Popen(
        command,
        cwd=plan.source,
        env={"LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": str(seconds)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=messages,
    )
    try:
        done = 0
        while True:
            try:
                return process.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                now = watch()
                meter.advance(max(0, now - done))
                done = max(done, now)
    finally:
        process.kill()
        process.wait()


def _read_back(
    folder: Path, plan: _Plan, *, verify: VerifyMetadata, limits: Limits, meter: Meter
) -> Image:
    """Return the image, on which every byte is as signed.

    Raises:
        RefusalError: It is not; the folder changed, or the disk lost something.
    """
    path = folder / plan.name
    with VolumeSet([IsoImage(path, limits=limits)], limits=limits) as volumes:
        bundle = verify(volumes)
        contents = list_volume(volumes, bundle, limits=limits)
        meter.stage(f"Verifying {plan.name}", contents.payload_bytes)
        verify_volume(volumes, bundle, contents=contents, progress=meter.advance)
    return Image(
        name=plan.name,
        volume=plan.volume,
        of=plan.of,
        size_bytes=path.stat().st_size,
    )


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise MissingError(
            "xorriso is not installed on this machine",
            where=PROGRAM,
            hint="Install it, on Debian with `apt-get install xorriso`.",
        )
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if "FAILURE" in line or "FATAL" in line]
    return " ".join(lines)[-MAX_MESSAGE_CHARACTERS:]
