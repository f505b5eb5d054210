"""Checks that a wheel is what its name says, and does only what wheels may.

Both machines run it: the bundler on what it is about to sign, the host in its
confined examiner on what it copied. Every byte of the file is accounted for:
it belongs to a member, the member is listed in RECORD, and has the digest that
RECORD states. Nothing is unpacked to disk and no code of the wheel runs.
"""

import configparser
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from bundleformat.artifact import WheelSizes
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.wheel import (
    ANYWHERE,
    MAX_TAGS,
    WheelName,
    normal_name,
    parse_wheel_name,
    same_version,
)
from bundleformat.wheel_metadata import (
    MAX_METADATA_BYTES,
    MAX_RECORD_BYTES,
    Recorded,
    only,
    parse_headers,
    parse_record,
)
from bundleformat.wheel_places import check_place, check_script
from bundleformat.zip_layout import Member, read_members
from bundleformat.zip_stream import pieces, read_whole

MAX_UNPACKED_BYTES: Final = DEFAULT_LIMITS.unpacked_bytes
"""Most that a wheel may hold once unpacked. Unit: bytes."""

MAX_RATIO: Final = 50
"""Most that a wheel may grow by, beyond ``FREE_BYTES``; real ones stay below 20."""

FREE_BYTES: Final = 16 * 2**20
"""What any wheel may hold whatever its own size. Unit: bytes."""

MAX_ENTRY_POINTS_BYTES: Final = 2**20
"""Longest ``entry_points.txt``. Unit: bytes."""

MAX_ENTRY_POINT_CHARACTERS: Final = 512
"""Longest line of ``entry_points.txt``; its parser takes the square of it in time."""

_ELF_X86_64: Final = b"\x7fELF\x02\x01"
_MACHINE: Final = slice(18, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFacts:
    """What a wheel says of itself, once everything in it was checked.

    Attributes:
        name: What its file name says.
        display_name: The distribution's name as its author writes it.
        version: Its version as its metadata writes it.
        requires_python: Versions of Python it takes, or an empty string.
        requires: What it asks for, one PEP 508 requirement each.
        licence: Its licence: an SPDX expression, or the words of older metadata.
        classifiers: Its trove classifiers.
        summary: One line on what it is, or an empty string.
        sizes: What it takes once installed.
        scripts: Commands it installs.
        libraries: Members that are machine code.
    """

    name: WheelName
    display_name: str
    version: str
    requires_python: str
    requires: tuple[str, ...]
    licence: str
    classifiers: tuple[str, ...]
    summary: str
    sizes: WheelSizes
    scripts: tuple[str, ...]
    libraries: tuple[str, ...]


def lint_wheel(file: BinaryIO, *, filename: str, size_bytes: int) -> WheelFacts:
    """Return the facts of the wheel in ``file``, which can be searched.

    Raises:
        MalformedError: Not such a wheel; ``where`` names the member or field.
        LimitExceededError: It is, or would become, larger than a wheel may.
    """
    name = parse_wheel_name(filename)
    members = read_members(file, size_bytes=size_bytes)
    _check_sizes(members, size_bytes=size_bytes)
    files = {member.name: member for member in members if not member.is_folder}
    prefix = _prefix(files, name)
    scripts = {
        script
        for member in members
        if (script := _place(member, prefix=prefix, name=name)) is not None
    }
    metadata = _metadata(file, files, prefix=prefix, name=name)
    _check_tags(file, files, prefix=prefix, name=name)
    libraries = _check_contents(file, files, prefix=prefix, name=name)
    return WheelFacts(
        name=name,
        display_name=metadata["name"][0],
        version=metadata["version"][0],
        requires_python=_first(metadata, "requires-python"),
        requires=metadata.get("requires-dist", ()),
        licence=_licence(metadata),
        classifiers=metadata.get("classifier", ()),
        summary=_first(metadata, "summary"),
        sizes=_sizes(files.values()),
        scripts=tuple(
            sorted(scripts | _entry_points(file, files, prefix=prefix, name=name))
        ),
        libraries=libraries,
    )


def most_unpacked_bytes(size_bytes: int) -> int:
    """Return what a wheel of ``size_bytes`` may hold once unpacked. Unit: bytes."""
    return min(MAX_UNPACKED_BYTES, MAX_RATIO * size_bytes + FREE_BYTES)


def _check_sizes(members: tuple[Member, ...], *, size_bytes: int) -> None:
    total = sum(member.size_bytes for member in members)
    most = most_unpacked_bytes(size_bytes)
    if total > most:
        raise LimitExceededError(
            "it would unpack to too much",
            where="directory",
            expected=f"at most {most} bytes",
            actual=f"{total} bytes",
        )


def _sizes(files: Collection[Member]) -> WheelSizes:
    sources = (each for each in files if each.name.endswith(".py"))
    return WheelSizes(
        unpacked_bytes=sum(each.size_bytes for each in files),
        python_bytes=sum(each.size_bytes for each in sources),
        files=len(files),
    )


def _prefix(files: Mapping[str, Member], name: WheelName) -> str:
    """Return ``NAME-VERSION`` as the archive writes it."""
    tops = {path.split("/")[0] for path in files}
    found = [top for top in tops if top.lower().endswith(".dist-info")]
    if len(found) != 1:
        raise MalformedError("not exactly one .dist-info folder", where="directory")
    prefix = found[0].removesuffix(".dist-info")
    distribution, _, version = prefix.rpartition("-")
    if normal_name(distribution) != name.distribution or not same_version(
        version, name.version
    ):
        raise MalformedError(
            "describes another wheel than its file name",
            where=found[0],
            expected=f"{name.distribution} {name.version}",
        )
    return prefix


def _place(member: Member, *, prefix: str, name: WheelName) -> str | None:
    if member.is_folder:
        return None
    return check_place(member.name, prefix=prefix, distribution=name.distribution)


def _headers(
    file: BinaryIO, files: Mapping[str, Member], *, where: str
) -> Mapping[str, tuple[str, ...]]:
    if where not in files:
        raise MalformedError("not in the wheel", where=where)
    data = read_whole(file, files[where], max_bytes=MAX_METADATA_BYTES)
    return parse_headers(data, where=where)


def _metadata(
    file: BinaryIO, files: Mapping[str, Member], *, prefix: str, name: WheelName
) -> Mapping[str, tuple[str, ...]]:
    where = f"{prefix}.dist-info/METADATA"
    fields = _headers(file, files, where=where)
    found = (only(fields, "Name", where=where), only(fields, "Version", where=where))
    if normal_name(found[0]) != name.distribution or not same_version(
        found[1], name.version
    ):
        raise MalformedError(
            "says another name or version than the file name",
            where=where,
            expected=f"{name.distribution} {name.version}",
            actual=ascii(" ".join(found))[1:-1],
        )
    return fields


def _check_tags(
    file: BinaryIO, files: Mapping[str, Member], *, prefix: str, name: WheelName
) -> None:
    where = f"{prefix}.dist-info/WHEEL"
    fields = _headers(file, files, where=where)
    version = only(fields, "Wheel-Version", where=where)
    if version.partition(".")[0] != "1":
        raise MalformedError("unknown version of the format", where=where)
    if only(fields, "Root-Is-Purelib", where=where).lower() not in {"true", "false"}:
        raise MalformedError("no truth value for Root-Is-Purelib", where=where)
    found = {
        "-".join(tag)
        for text in fields.get("tag", ())
        for tag in _expanded(text, where=where)
    }
    if found != set(name.tags):
        raise MalformedError(
            "says other tags than the file name",
            where=where,
            expected=", ".join(sorted(name.tags)[:4]),
            actual=ascii(", ".join(sorted(found)[:4]))[1:-1],
        )


def _expanded(text: str, *, where: str) -> list[tuple[str, str, str]]:
    parts = text.split("-")
    if len(parts) != 3 or len(text) > 512:
        raise MalformedError("not a tag", where=where)
    interpreters, abis, platforms = (part.split(".") for part in parts)
    if len(interpreters) * len(abis) * len(platforms) > MAX_TAGS:
        raise MalformedError("too many tags", where=where)
    return [(i, a, p) for i in interpreters for a in abis for p in platforms]


def _check_contents(
    file: BinaryIO, files: Mapping[str, Member], *, prefix: str, name: WheelName
) -> tuple[str, ...]:
    """Read every file of the wheel once, and compare it with RECORD."""
    own = f"{prefix}.dist-info/RECORD"
    if own not in files:
        raise MalformedError("not in the wheel", where=own)
    record = parse_record(
        read_whole(file, files[own], max_bytes=MAX_RECORD_BYTES), own=own
    )
    for path in sorted(record.keys() - files.keys()):
        raise MalformedError(
            "listed, but not in the wheel", where=f"{own}: {ascii(path)[1:-1]}"
        )
    libraries: list[str] = []
    for path, member in files.items():
        if path == own:
            continue
        if path not in record:
            raise MalformedError("in the wheel, but not listed in RECORD", where=path)
        if _check_content(file, member, record[path]):
            libraries.append(path)
    if libraries and name.platforms == {ANYWHERE}:
        raise MalformedError(
            "machine code in a wheel that says it has none", where=min(libraries)
        )
    return tuple(sorted(libraries))


def _check_content(file: BinaryIO, member: Member, recorded: Recorded) -> bool:
    """Check one file, and return whether it is machine code."""
    state = hashlib.sha256()
    head = b""
    for piece in pieces(file, member):
        state.update(piece)
        if len(head) < _MACHINE.stop:
            head += piece[: _MACHINE.stop]
    if (state.digest(), member.size_bytes) != (recorded.sha256, recorded.size_bytes):
        raise MalformedError("not what RECORD says", where=member.name)
    if not head.startswith(b"\x7fELF"):
        return False
    if not head.startswith(_ELF_X86_64) or head[_MACHINE] != b"\x3e\x00":
        raise MalformedError("machine code for another machine", where=member.name)
    return True


def _entry_points(
    file: BinaryIO, files: Mapping[str, Member], *, prefix: str, name: WheelName
) -> set[str]:
    """Return the commands that an installer will write."""
    where = f"{prefix}.dist-info/entry_points.txt"
    if where not in files:
        return set()
    data = read_whole(file, files[where], max_bytes=MAX_ENTRY_POINTS_BYTES)
    found = _commands(data, where=where)
    for script in found:
        check_script(
            script,
            where=f"{where}: {ascii(script)[1:-1]}",
            distribution=name.distribution,
        )
    return found


def _commands(data: bytes, *, where: str) -> set[str]:
    parser = configparser.RawConfigParser(delimiters=("=",), strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        text = data.decode("utf-8")
        if max(map(len, text.split("\n"))) > MAX_ENTRY_POINT_CHARACTERS:
            raise LimitExceededError(
                "a line too long",
                where=where,
                expected=f"at most {MAX_ENTRY_POINT_CHARACTERS} characters",
            )
        parser.read_string(text)
    except (UnicodeDecodeError, configparser.Error) as error:
        raise MalformedError("not a list of commands", where=where) from error
    found: set[str] = set()
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            found.update(parser.options(section))
    return found


def _licence(metadata: Mapping[str, tuple[str, ...]]) -> str:
    for key in ("license-expression", "license"):
        if text := _first(metadata, key):
            return text.split("\n", 1)[0]
    named = [
        text.rsplit(" :: ", 1)[-1]
        for text in metadata.get("classifier", ())
        if text.startswith("License :: ")
    ]
    return ", ".join(named)


def _first(metadata: Mapping[str, tuple[str, ...]], key: str) -> str:
    values = metadata.get(key, ())
    return values[0] if values else ""
