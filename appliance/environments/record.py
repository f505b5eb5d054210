"""Compares an installed environment with the wheels it was made of.

Every file that a wheel records lies where it belongs, byte for byte; and beside
those there are only the files that an installation makes itself. So nothing ran,
and nothing came from anywhere else, between the signed bytes and the disk.

Source: Python packaging specifications, "Binary distribution format", sections
"The .dist-info directory" and "The .data directory"; "Recording installed projects".
"""

import base64
import binascii
import configparser
import csv
import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.environments.place import MARK
from bundleformat.errors import DigestMismatchError, LimitExceededError, MalformedError

MAX_RECORD_BYTES: Final = 16 * 2**20
"""Largest RECORD or script that is read whole. Unit: bytes."""

MAX_START_BYTES: Final = 16_384
"""More than the lines take that name an interpreter, twice the longest path."""

ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})
"""What a RECORD may hash with."""

_MADE: Final = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
"""What an installer writes into a ``.dist-info``."""

_OURS: Final = frozenset({"bin", "pyvenv.cfg", MARK})
"""What no wheel may bring as plain data."""

_STARTUP: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that Python runs at every start, as it does the lines of a ``.pth``."""

_STARTERS: Final = ("python", "activate", "Activate")
"""How the files begin that ``venv`` puts among the scripts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where an environment keeps what; ``python`` is such as ``3.11``."""

    folder: Path
    python: str

    @property
    def packages(self) -> Path:
        """Folder of the modules."""
        return self.folder / "lib" / f"python{self.python}" / "site-packages"

    @property
    def scripts(self) -> Path:
        """Folder of the commands."""
        return self.folder / "bin"

    def place(self, recorded: str, *, distribution: str) -> Path:
        """Return where the file lies that a wheel records as ``recorded``."""
        top, _, rest = recorded.partition("/")
        if not top.endswith(".data"):
            return self.packages / recorded
        scheme, _, inside = rest.partition("/")
        headers = self.folder / "include" / "site" / f"python{self.python}"
        schemes = {
            "purelib": self.packages,
            "platlib": self.packages,
            "scripts": self.scripts,
            "data": self.folder,
            "headers": headers / distribution,
        }
        ours = scheme == "data" and inside.partition("/")[0] in _OURS
        if scheme not in schemes or ours:
            raise MalformedError("no place to install to", where=ascii(recorded))
        return schemes[scheme] / inside


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A file of a wheel: where it is installed, and its digest."""

    member: str
    place: Path
    algorithm: str
    digest: bytes


def check_installed(layout: Layout, wheels: Sequence[Path]) -> None:
    """Check that the environment holds exactly what ``wheels`` record.

    Raises:
        DigestMismatchError: An installed file is not the wheel's.
        MalformedError: One is missing or too many, or a wheel has no valid RECORD.
        LimitExceededError: A RECORD is too long.
    """
    expected: dict[Path, Recorded] = {}
    # Of these three pip makes those that its own wheel does not name.
    commands = {"pip", "pip3", f"pip{layout.python}"}
    for wheel in wheels:
        with _opened(wheel) as archive:
            for recorded in read_record(archive, wheel.name, layout=layout):
                _check_file(recorded, archive, layout=layout)
                expected[recorded.place] = recorded
            commands |= _commands(archive)
    _check_nothing_else(layout, expected, commands=frozenset(commands))


def read_record(
    archive: zipfile.ZipFile, name: str, *, layout: Layout
) -> Iterator[Recorded]:
    """Yield what the RECORD of the wheel ``name`` lists, but itself.

    Raises:
        MalformedError: It has no RECORD, or one that cannot be followed.
        LimitExceededError: It is too long.
    """
    distribution = name.partition("-")[0]
    path = _info_file(archive, "RECORD")
    if path is None:
        raise MalformedError("a wheel without a RECORD", where=name)
    try:
        rows = csv.reader(_read(archive, path).decode("utf-8").splitlines())
        for member, digest, _ in rows:
            if member in {path, f"{path}.jws", f"{path}.p7s"}:
                continue
            algorithm, _, text = digest.partition("=")
            if algorithm not in ALGORITHMS or ".." in member.split("/"):
                raise MalformedError("not a RECORD", where=name, actual=ascii(member))
            yield Recorded(
                member=member,
                place=layout.place(member, distribution=distribution),
                algorithm=algorithm,
                digest=base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)),
            )
    except (UnicodeDecodeError, csv.Error, ValueError, binascii.Error) as error:
        raise MalformedError("not a RECORD", where=name, actual=str(error)) from error


def _check_file(
    recorded: Recorded, archive: zipfile.ZipFile, *, layout: Layout
) -> None:
    place = recorded.place
    where = str(place.relative_to(layout.folder))
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            digest = hashlib.file_digest(file, recorded.algorithm).digest()
    except OSError as error:
        raise MalformedError(
            "a file of a wheel was not installed", where=where, actual=str(error)
        ) from error
    if digest == recorded.digest or _is_adapted_script(recorded, archive, layout):
        return
    raise DigestMismatchError("an installed file is not the wheel's", where=where)


def _is_adapted_script(
    recorded: Recorded, archive: zipfile.ZipFile, layout: Layout
) -> bool:
    """Return whether the file differs by its first line alone, as a script may."""
    if recorded.place.parent != layout.scripts:
        return False
    first, _, rest = _read(archive, recorded.member).partition(b"\n")
    body = _after_our_start(recorded.place.read_bytes(), layout)
    return first.startswith(b"#!python") and rest == body


def _after_our_start(script: bytes, layout: Layout) -> bytes | None:
    """Return what follows the lines that name our interpreter, or None.

    A path too long for the kernel's ``#!`` is started by way of the shell.
    """
    python = os.fsencode(layout.scripts / "python")
    for named in (python, b'"' + python + b'"'):
        shell = b"#!/bin/sh\n'''exec' " + named + b" \"$0\" \"$@\"\n' '''\n"
        for start in (b"#!" + named + b"\n", shell):
            if script.startswith(start):
                return script[len(start) :]
    return None


def _check_nothing_else(
    layout: Layout, expected: dict[Path, Recorded], *, commands: frozenset[str]
) -> None:
    for path in _files(layout.packages):
        if path not in expected and not _is_made(path, expected):
            raise _unexpected(path, layout)
        top = path.relative_to(layout.packages).parts[0].partition(".")[0]
        if top in _STARTUP or path.suffix.lower() == ".pth":
            raise MalformedError(
                "would run at every start of Python", where=_inside(path, layout)
            )
    for path in _files(layout.scripts, links="python"):
        if path in expected or path.name.startswith(_STARTERS):
            continue
        with path.open("rb") as file:
            start = _after_our_start(file.read(MAX_START_BYTES), layout)
        if path.name not in commands or start is None:
            raise _unexpected(path, layout)


def _files(folder: Path, *, links: str = "") -> Iterator[Path]:
    """Yield every regular file; ``links`` is how the name of a link may begin."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode) and not (links and name.startswith(links)):
                raise MalformedError("not a regular file", where=str(path))


def _is_made(path: Path, expected: dict[Path, Recorded]) -> bool:
    """Return whether an installer makes this file of what is expected."""
    if path.parent.name == "__pycache__":
        source = f"{path.name.partition('.')[0]}.py"
        return path.suffix == ".pyc" and path.parent.parent / source in expected
    is_info = path.parent.name.endswith(".dist-info")
    return is_info and path.name in _MADE and path.parent / "METADATA" in expected


def _commands(archive: zipfile.ZipFile) -> set[str]:
    path = _info_file(archive, "entry_points.txt")
    if path is None:
        return set()
    points = configparser.RawConfigParser(delimiters=("=",), strict=True)
    points.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        points.read_string(_read(archive, path).decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise MalformedError("not entry points", where=path) from error
    sections = ("console_scripts", "gui_scripts")
    return {
        key for each in sections if points.has_section(each) for key in points[each]
    }


def _info_file(archive: zipfile.ZipFile, name: str) -> str | None:
    found = [
        path
        for path in archive.namelist()
        if path.count("/") == 1 and path.endswith(f".dist-info/{name}")
    ]
    return found[0] if len(found) == 1 else None


def _read(archive: zipfile.ZipFile, member: str) -> bytes:
    with archive.open(member) as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise LimitExceededError("too long", where=member)
    return data


def _opened(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except (zipfile.BadZipFile, OSError) as error:
        raise MalformedError("not a wheel", where=wheel.name) from error


def _inside(path: Path, layout: Layout) -> str:
    return str(path.relative_to(layout.folder))


def _unexpected(path: Path, layout: Layout) -> MalformedError:
    return MalformedError(
        "a file that no wheel delivers was installed", where=_inside(path, layout)
    )
