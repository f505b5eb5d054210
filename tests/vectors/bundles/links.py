"""Links and special files in the place of what a reader looks for.

Nothing here needs a key. A reader that followed a link would take files of the host
for the bundle's; one that opened a FIFO would wait for ever, and one that opened a
device might never come to its end.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, VOLUME_HINT_PATH
from tests.vectors.bundles.case import MALFORMED, Case, of_folder, of_media
from tests.vectors.bundles.estate import DELIVERED, NEXT, chunk_files
from tests.vectors.bundles.forge import ROOT_PATH, SNAPSHOT_PATH

CHUNK: Final = tuple(chunk_files(DELIVERED[NEXT][:1]))[1]
"""The middle chunk of a policy."""

ZERO: Final = os.makedev(1, 5)
"""``/dev/zero``: an endless file to whoever reads it."""

LOOP: Final = os.makedev(7, 0)
"""The first loop device: opening it can have effects."""

Spoil = Callable[[Path], object]


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for path, what, step in (
        (CHUNK, "chunk", Step.PREFLIGHT),
        (TIMESTAMP_PATH, "timestamp", Step.VERIFY),
        (MANIFEST_PATH, "manifest", Step.VERIFY),
        (ROOT_PATH, "root", Step.VERIFY),
        (VOLUME_HINT_PATH, "hint", Step.LOCK),
    ):
        for kind, spoil in _at(path).items():
            if what == "chunk" or kind in {"symlink-to-its-bytes", "fifo", "device"}:
                yield of_folder(f"{what}-{kind}", MALFORMED, path, spoil, step=step)
    yield of_folder(
        "snapshot-symlink-outside",
        MALFORMED,
        SNAPSHOT_PATH,
        _link(SNAPSHOT_PATH, "/etc/hostname"),
        step=Step.VERIFY,
    )
    yield from _folders()
    yield from _media()


def _at(path: str) -> dict[str, Spoil]:
    """Return what can lie at ``path`` instead of a file."""
    return {
        "symlink-to-its-bytes": lambda medium: move_and_link(medium, path),
        "symlink-outside": _link(path, "/etc/passwd"),
        "symlink-to-nothing": _link(path, "nowhere"),
        "symlink-to-itself": _link(path, path.rpartition("/")[2]),
        "fifo": _node(path, stat.S_IFIFO),
        "socket": _node(path, stat.S_IFSOCK),
        "device": _node(path, stat.S_IFCHR, ZERO),
        "block-device": _node(path, stat.S_IFBLK, LOOP),
        "folder": lambda medium: _emptied(medium / path).mkdir(),
    }


def _folders() -> Iterator[Case]:
    for name, step, where in (
        ("metadata", Step.LOCK, "metadata"),
        ("targets", Step.VERIFY, MANIFEST_PATH),
        ("c", Step.PREFLIGHT, next(iter(chunk_files(DELIVERED[NEXT])))),
        (CHUNK.rpartition("/")[0], Step.PREFLIGHT, CHUNK),
    ):
        called = name.replace("/", "-")[:1] + "-of-chunk" if "/" in name else name
        yield of_folder(
            f"folder-{called}-symlink",
            MALFORMED,
            where,
            partial(move_and_link, path=name),
            step=step,
        )
        yield of_folder(
            f"folder-{called}-file",
            MALFORMED,
            where,
            partial(_replace_by_a_file, path=name),
            step=step,
        )


def _media() -> Iterator[Case]:
    for kind, mode, device in (
        ("fifo", stat.S_IFIFO, 0),
        ("socket", stat.S_IFSOCK, 0),
        ("device", stat.S_IFCHR, ZERO),
    ):

        def make(folder: Path, mode: int = mode, device: int = device) -> list[Path]:
            os.mknod(folder / "medium", mode | 0o666, device)
            return [folder / "medium"]

        yield of_media(f"medium-{kind}", MALFORMED, "medium", make)


def move_and_link(medium: Path, path: str) -> None:
    """Leave a link at ``path`` that leads to what lay there."""
    place = medium / path
    elsewhere = medium.parent / f"{medium.name}-elsewhere"
    if place.exists():
        place.rename(elsewhere)
    place.symlink_to(elsewhere)


def _replace_by_a_file(medium: Path, path: str) -> None:
    _emptied(medium / path).write_bytes(b"x")


def _link(path: str, target: str) -> Spoil:
    return lambda medium: _emptied(medium / path).symlink_to(target)


def _node(path: str, kind: int, device: int = 0) -> Spoil:
    return lambda medium: os.mknod(_emptied(medium / path), kind | 0o666, device)


def _emptied(place: Path) -> Path:
    """Return ``place``, where nothing is any more."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return place
