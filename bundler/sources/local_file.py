"""Finds a model that lies in files of this machine."""

import stat
from pathlib import Path

from bundleformat.errors import MissingError, RefusalError
from bundleformat.gguf_split import parse_part_name, part_name
from bundler.errors import SpecError
from bundler.sources.located import LocatedModel, OnDisk
from bundler.sources.wanted import LocalFile


def locate(source: LocalFile) -> LocatedModel:
    """Return the file, or all parts of the split model that it is the first of.

    Raises:
        MissingError: It, or another part, is not there.
        SpecError: It is a part other than the first, or no regular file.
    """
    names = sibling_names(source.path.name, where=str(source.path))
    paths = [source.path.with_name(name) for name in names]
    return LocatedModel(files=tuple(on_disk(path) for path in paths))


def sibling_names(name: str, *, where: str) -> tuple[str, ...]:
    """Return the file names of all parts, in order; of a whole model its own.

    Raises:
        SpecError: ``name`` is that of a part other than the first.
    """
    try:
        part = parse_part_name(name)
    except RefusalError as error:
        raise SpecError(error.problem, where=where) from error
    if part is None:
        return (name,)
    if part.number != 1:
        first = part_name(part.stem, number=1, count=part.count)
        raise SpecError(
            "not the first part of a split model",
            where=where,
            expected=f"{first}.gguf",
            hint="Name the first part; the others are found beside it.",
        )
    return tuple(
        f"{part_name(part.stem, number=number, count=part.count)}.gguf"
        for number in range(1, part.count + 1)
    )


def on_disk(path: Path) -> OnDisk:
    """Return the regular file at ``path``, or at the end of links to it.

    Raises:
        MissingError: No such file.
        SpecError: Not a regular file with content.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise MissingError(
            "no such file", where=str(path), hint="Correct its path in the spec."
        ) from error
    except OSError as error:
        raise SpecError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        raise SpecError("not a file with content", where=str(path))
    return OnDisk(path=path, size_bytes=found.st_size)
