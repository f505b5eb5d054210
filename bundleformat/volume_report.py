"""What both command lines say of the volumes at hand, and of those that are not."""

from typing import Any

from bundleformat.verify_volume import VolumeContents
from bundleformat.volume_set import VolumeSet


def volumes_value(volumes: VolumeSet, contents: VolumeContents) -> dict[str, Any]:
    """Return what ``--json`` shows of volumes.

    ``volume`` is the number of a volume that was looked at alone, and null for
    several. ``present``, ``missing`` and ``doubled`` name volumes, ``foreign`` the
    chunks at hand that are not of this bundle.
    """
    numbers = volumes.numbers()
    return {
        "volume": numbers[0] if len(volumes.media) == 1 else None,
        "of": volumes.of,
        "since": volumes.since,
        "present": list(numbers),
        "missing": list(volumes.wanted()),
        "doubled": list(volumes.duplicates()),
        "foreign": list(contents.foreign),
        "chunks_present": len(contents.present),
        "chunks_missing": len(contents.missing),
    }


def volume_lines(volumes: VolumeSet, contents: VolumeContents) -> tuple[str, ...]:
    """Return what a person reads of volumes; nothing of a whole bundle on one."""
    lines: list[str] = []
    if volumes.of > 1:
        lines.append(f"volume {_list(volumes.numbers())} of {volumes.of}")
    if contents.missing:
        lines.append(_elsewhere(volumes, len(contents.missing)))
    lines += [f"given twice: {label}" for label in volumes.duplicates()]
    lines += [
        f"not of this bundle, and not read: chunk {sha256}"
        for sha256 in contents.foreign
    ]
    return tuple(lines)


def _elsewhere(volumes: VolumeSet, count: int) -> str:
    places = []
    if volumes.wanted():
        places.append(f"on volume {_list(volumes.wanted())}")
    if volumes.since is not None:
        places.append(f"on hosts that have version {volumes.since}")
    chunks = "1 chunk lies" if count == 1 else f"{count} chunks lie"
    return f"{chunks} elsewhere: {' or '.join(places)}"


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
