"""An export as a tar archive: the same folder gives the same bytes.

Order, owner, rights and dates are fixed. Headers are plain ustar; one that cannot
say a size or a name gets a pax record before it. Source: POSIX.1-2017, pax.
"""

import datetime as dt
import tarfile
from io import BufferedIOBase
from pathlib import Path


def write_tar(
    folder: Path, sink: BufferedIOBase, *, top: str, created: dt.datetime
) -> None:
    """Write everything in ``folder`` to ``sink``, as an archive.

    Args:
        folder: What is archived: plain files, and folders of such.
        sink: Takes the archive, from its beginning on; nothing goes back in it.
        top: The name of the folder in it that holds everything.
        created: The date of every file.

    Raises:
        OSError: The disk refused.
    """
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_entry(top, created, kind=tarfile.DIRTYPE))
        for each in sorted(folder.rglob("*")):
            name = f"{top}/{each.relative_to(folder).as_posix()}"
            if each.is_dir():
                archive.addfile(_entry(name, created, kind=tarfile.DIRTYPE))
                continue
            entry = _entry(name, created, kind=tarfile.REGTYPE)
            entry.size = each.stat().st_size
            with each.open("rb") as content:
                archive.addfile(entry, content)


def _entry(name: str, created: dt.datetime, *, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    entry.mtime = int(created.timestamp())
    return entry
