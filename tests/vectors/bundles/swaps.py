"""Media that change between the check of a file and its use.

Nothing here needs a key, but a medium that thinks for itself: a network share, a
stick with its own processor. The change comes as a step begins, or right before the
system call that opens a file, when its kind and its presence were looked at already.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH
from tests.support.iso_bytes import iso_image
from tests.vectors.bundles.case import (
    DIGEST,
    EQUIVOCATION,
    MALFORMED,
    MISSING,
    Case,
    Swap,
    of_made,
    of_media,
)
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import ACTIVE, bundle
from tests.vectors.bundles.forge import SNAPSHOT_PATH, TARGETS_PATH
from tests.vectors.bundles.forms import single_file
from tests.vectors.bundles.links import ZERO, move_and_link

CHUNK: Final = SITE[1]

Act = Callable[[Path], object]


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for name, (code, act) in _acts().items():
        yield _of(
            f"chunk-{name}-before-the-copy", code, CHUNK, Swap(act=act, at=Step.COPY)
        )
    for name in ("other-bytes", "symlink", "fifo", "device"):
        code, act = _acts()[name]
        swap = Swap(act=act, before_open=CHUNK.rpartition("/")[2], times=3)
        yield _of(f"chunk-{name}-before-it-is-opened", code, CHUNK, swap)
        if name != "other-bytes":
            swap = replace(swap, times=1)
            yield _of(
                f"chunk-{name}-before-it-is-looked-for",
                code,
                CHUNK,
                swap,
                step=Step.PREFLIGHT,
            )
    yield _of(
        "chunks-folder-symlink-before-the-copy",
        MALFORMED,
        SITE[0],
        Swap(act=lambda medium: move_and_link(medium, "c"), at=Step.COPY),
    )
    yield from _metadata()
    yield from _single_files()


def _acts() -> dict[str, tuple[str, Act]]:
    """Return what can become of a chunk, and the code that follows."""
    place = Path(CHUNK)
    return {
        "other-bytes": (DIGEST, lambda m: _turn(m / place, bytes(48))),
        "more-bytes": (DIGEST, lambda m: _turn(m / place, bytes(49))),
        "5-gib": (DIGEST, lambda m: os.truncate(m / place, 5 * 2**30)),
        "gone": (MISSING, lambda m: (m / place).unlink()),
        "symlink": (MALFORMED, lambda m: move_and_link(m, CHUNK)),
        "fifo": (MALFORMED, lambda m: _node(m / place, stat.S_IFIFO)),
        "device": (MALFORMED, lambda m: _node(m / place, stat.S_IFCHR, ZERO)),
        "folder": (MALFORMED, lambda m: _folder(m / place)),
    }


def _metadata() -> Iterator[Case]:
    old = bundle(version=ACTIVE)
    for name, code, path, data, times in (
        # Looked for and read by TUF; then the same once more, to compare.
        ("timestamp", EQUIVOCATION, TIMESTAMP_PATH, old[TIMESTAMP_PATH], 3),
        ("snapshot", DIGEST, SNAPSHOT_PATH, b"{}", 3),
        ("targets", DIGEST, TARGETS_PATH, b"{}", 3),
        ("manifest", DIGEST, MANIFEST_PATH, old[MANIFEST_PATH], 2),
    ):
        yield _of(
            f"{name}-before-it-is-read-again",
            code,
            path,
            Swap(
                act=partial(_turn_at, path=path, data=data),
                before_open=path.rpartition("/")[2],
                times=times,
            ),
            step=Step.VERIFY,
        )


def _single_files() -> Iterator[Case]:
    good = single_file(bundle())
    image = bytes(iso_image(bundle()).data)
    for name, data in (("medium.mbundle", good), ("medium.iso", image)):
        what = "single-file" if name.endswith("mbundle") else "image"
        for change, act in (
            ("zeros", lambda medium: _turn(medium, bytes(medium.stat().st_size))),
            ("cut", lambda medium: os.truncate(medium, 4096)),
        ):
            yield of_media(
                f"{what}-{change}-before-the-copy",
                DIGEST,
                SITE[0],
                partial(_written, name=name, data=data),
                step=Step.COPY,
                swap=Swap(act=act, at=Step.COPY),
            )


def _of(
    name: str, code: str, where: str, swap: Swap, *, step: Step = Step.COPY
) -> Case:
    return replace(of_made(name, code, where, bundle, step=step), swap=swap)


def _turn(place: Path, data: bytes) -> None:
    """Write ``data`` into the file that is there."""
    with place.open("r+b") as file:
        file.truncate()
        file.write(data)


def _turn_at(medium: Path, path: str, data: bytes) -> None:
    _turn(medium / path, data)


def _node(place: Path, kind: int, device: int = 0) -> None:
    place.unlink()
    os.mknod(place, kind | 0o666, device)


def _folder(place: Path) -> None:
    place.unlink()
    place.mkdir()


def _written(folder: Path, name: str, data: bytes) -> list[Path]:
    (folder / name).write_bytes(data)
    return [folder / name]
