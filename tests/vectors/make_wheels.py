"""Writes the wheel vectors: ``python -m tests.vectors.make_wheels``.

``accept/wheel`` holds wheels a host must take, ``reject/wheel`` wheels it must
refuse; ``expect.json`` beside them says with which code and at which place. Each
lies in a folder named after what is wrong with it, because a wheel's own name
counts. Running this again changes nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.support.wheel_bytes import (
    ELF,
    GOOD,
    INFO,
    METADATA,
    NAME,
    Entry,
    RawWheel,
    deflate,
    wheel_file,
)

FOLDER = Path(__file__).parent
MALFORMED, LIMIT = "malformed", "limit-exceeded"
LINUX = "demo-1.0-py3-none-manylinux_2_28_x86_64.whl"

Case = tuple[str, RawWheel | bytes, str, str]
"""Name, wheel, expected code and expected place."""


def file(name: str, data: bytes = b"x\n", **odd: object) -> Entry:
    return replace(Entry(name=name.encode(), data=data), **odd)  # type: ignore[arg-type]


def accepted() -> Iterator[tuple[str, str, RawWheel]]:
    """Yield name, file name and wheel of what a host must take."""
    yield "smallest", NAME, GOOD
    yield "deflated", NAME, GOOD.having(file("demo/a.py", b"a" * 99, method=8))
    yield "folder", NAME, GOOD.having(file("demo/sub/", b"", mode=0o40755))
    yield (
        "utf8",
        NAME,
        GOOD.having(replace(Entry(name="demo/é.txt".encode(), data=b"x"), flags=0x800)),
    )
    yield "script", NAME, GOOD.having(file("demo-1.0.data/scripts/demo"))
    yield "data", NAME, GOOD.having(file("demo-1.0.data/data/share/man/demo.1"))
    native = GOOD.having(
        wheel_file("py3-none-manylinux_2_28_x86_64"), file("demo/a.so", ELF)
    )
    yield "native", LINUX, native


def rejected() -> Iterator[Case]:
    """Yield the wheels a host must refuse; all are called ``NAME``."""
    yield from _names()
    yield from _frames()
    yield from _lies()
    yield from _descriptions()
    yield from _places()


def _names() -> Iterator[Case]:
    where = "directory entry 3"
    for name, path in (
        ("parent", "../evil.py"),
        ("parent-inside", "demo/../../evil.py"),
        ("absolute", "/etc/evil"),
        ("backslash", "demo\\..\\evil.py"),
        ("drive", "c:evil.py"),
        ("zero-byte", "demo/a\0.py"),
        ("escape", "demo/\x1b[2J.py"),
        ("empty-part", "demo//a.py"),
        ("dot", "./demo/a.py"),
    ):
        yield f"name-{name}", GOOD.having(file(path)), MALFORMED, where
    yield "name-long", GOOD.having(file("a/" * 9 + "b" * 1100)), LIMIT, where
    yield "name-deep", GOOD.having(file("a/" * 40 + "b")), LIMIT, where
    yield (
        "name-not-nfc",
        GOOD.having(file("demo/e\u0301.py", flags=0x800)),
        MALFORMED,
        where,
    )
    yield (
        "name-not-utf8",
        GOOD.having(Entry(name=b"demo/\xff", data=b"", flags=0x800)),
        MALFORMED,
        where,
    )
    yield (
        "name-unflagged",
        GOOD.having(Entry(name="demo/é".encode(), data=b"")),
        MALFORMED,
        where,
    )
    twice = replace(GOOD, entries=(*GOOD.entries, GOOD.entries[0]))
    yield "name-twice", twice, MALFORMED, "demo/__init__.py"
    yield (
        "name-case",
        GOOD.having(file("Demo/__INIT__.py")),
        MALFORMED,
        "Demo/__INIT__.py",
    )
    yield (
        "name-below-file",
        GOOD.having(file("demo/__init__.py/a")),
        MALFORMED,
        "demo/__init__.py/a",
    )


def _frames() -> Iterator[Case]:
    yield "empty", b"", MALFORMED, "end record"
    yield "not-zip", b"\x7fELF" * 40, MALFORMED, "end record"
    yield "before", replace(GOOD, before=b"#!/x\n"), MALFORMED, "demo/__init__.py"
    yield "between", replace(GOOD, between=b"hid"), MALFORMED, f"{INFO}/METADATA"
    yield (
        "before-directory",
        replace(GOOD, before_directory=b"hid"),
        MALFORMED,
        "directory",
    )
    yield "after", replace(GOOD, after=b"hid"), MALFORMED, "end record"
    yield "comment", replace(GOOD, comment=b"hid"), MALFORMED, "end record"
    yield "second-archive", GOOD.packed() + GOOD.packed(), MALFORMED, "end record"
    yield "cut", GOOD.packed()[:-30], MALFORMED, "end record"
    odd = "demo/odd"
    for name, entry in (
        ("symlink", file(odd, b"/etc/passwd", mode=0o120777)),
        ("device", file(odd, b"", mode=0o020666)),
        ("fifo", file(odd, b"", mode=0o010666)),
        ("setuid", file(odd, mode=0o104755)),
        ("encrypted", file(odd, flags=1)),
        ("data-descriptor", file(odd, flags=8)),
        ("lzma", file(odd, method=14)),
        ("unicode-path", file(odd, extra=b"\x75\x70\x02\x00ab")),
        ("zip64", file(odd, extra=b"\x01\x00\x08\x00" + bytes(8))),
        ("local-name", file(odd, local_name=b"demo/xxx")),
        ("local-size", file(odd, local_size=1)),
    ):
        yield f"member-{name}", GOOD.having(entry), MALFORMED, odd


def _lies() -> Iterator[Case]:
    odd = "demo/odd"
    zeros = bytes(4096)
    for name, entry in (
        ("crc", file(odd, crc=7)),
        ("stored-size", file(odd, size=1)),
        ("more-than-declared", file(odd, zeros, method=8, size=16)),
        ("less-than-declared", file(odd, zeros, method=8, size=5000)),
        ("not-deflated", file(odd, method=8, packed=b"\xff\xff\xff")),
        ("deflate-cut", file(odd, zeros, method=8, packed=deflate(zeros)[:-3])),
        ("deflate-tail", file(odd, zeros, method=8, packed=deflate(zeros) + b"hid")),
    ):
        yield f"content-{name}", GOOD.having(entry), MALFORMED, odd
    bomb = file(odd, zeros, method=8, size=2**31)
    yield "bomb", GOOD.having(bomb), LIMIT, "directory"


def _descriptions() -> Iterator[Case]:
    record, metadata, wheel = (f"{INFO}/{n}" for n in ("RECORD", "METADATA", "WHEEL"))
    first = "demo/__init__.py"
    unlisted = replace(GOOD, unlisted=frozenset({first.encode()}))
    yield "record-gap", unlisted, MALFORMED, first
    yield "record-empty", replace(GOOD, record=b""), MALFORMED, record
    good = GOOD._record()
    ghost = good.replace(b"demo/__init__", b"demo/ghost")
    yield (
        "record-ghost",
        replace(GOOD, record=ghost),
        MALFORMED,
        f"{record}: demo/ghost.py",
    )
    other = good.replace(b",10\n", b",11\n")
    yield "record-size", replace(GOOD, record=other), MALFORMED, first
    twice = good.split(b"\n")[0] + b"\n" + good
    yield "record-twice", replace(GOOD, record=twice), MALFORMED, f"{record}: {first}"
    md5 = good.replace(b"sha256=", b"md5=", 1)
    yield "record-md5", replace(GOOD, record=md5), MALFORMED, f"{record}, row 1"
    changed = GOOD.having(file(first, b"VALUE = 2\n"))
    yield "record-other-bytes", replace(changed, record=good), MALFORMED, first
    for name, text in (
        ("other-name", METADATA.replace("demo", "other")),
        ("other-version", METADATA.replace("1.0", "1.1")),
        ("name-twice", METADATA + "Name: other\n"),
        ("no-field", METADATA + "no field\n"),
        ("carriage-return", METADATA + "Summary: a\rName: other\n"),
    ):
        entry = file(metadata, text.encode())
        yield f"metadata-{name}", GOOD.having(entry), MALFORMED, metadata
    yield "metadata-missing", GOOD.lacking(metadata.encode()), MALFORMED, metadata
    yield "wheel-missing", GOOD.lacking(wheel.encode()), MALFORMED, wheel
    yield (
        "wheel-other-tag",
        GOOD.having(wheel_file("cp311-cp311-any")),
        MALFORMED,
        wheel,
    )
    yield (
        "two-dist-infos",
        GOOD.having(file("other-1.0.dist-info/METADATA")),
        MALFORMED,
        "directory",
    )
    points = f"{INFO}/entry_points.txt"
    yield (
        "command-python",
        GOOD.having(file(points, b"[console_scripts]\npython3 = demo:main\n")),
        MALFORMED,
        f"{points}: python3",
    )
    yield (
        "command-path",
        GOOD.having(file(points, b"[console_scripts]\n../../evil = demo:main\n")),
        MALFORMED,
        f"{points}: ../../evil",
    )


def _places() -> Iterator[Case]:
    data = "demo-1.0.data"
    for name, path in (
        ("pth", "evil.pth"),
        ("pth-case", "evil.PTH"),
        ("pth-data", f"{data}/purelib/evil.pth"),
        ("sitecustomize", "sitecustomize.py"),
        ("usercustomize", "usercustomize/__init__.py"),
        ("data-bin", f"{data}/data/bin/python3"),
        ("data-pyvenv", f"{data}/data/pyvenv.cfg"),
        ("data-other", "other-1.0.data/scripts/a"),
        ("scheme", f"{data}/stdlib/os.py"),
        ("script-python", f"{data}/scripts/python3"),
        ("script-folder", f"{data}/scripts/a/b"),
    ):
        yield f"place-{name}", GOOD.having(file(path)), MALFORMED, path
    yield "elf-in-any", GOOD.having(file("demo/a.so", ELF)), MALFORMED, "demo/a.so"
    arm = ELF[:18] + b"\xb7\x00" + ELF[20:]
    yield (
        "elf-other-machine",
        GOOD.having(file("demo/a.so", arm)),
        MALFORMED,
        "demo/a.so",
    )


def write_vectors(folder: Path) -> None:
    """Write every vector and the index below ``folder``."""
    for name, filename, wheel in accepted():
        _write(folder / "accept" / "wheel" / name / filename, wheel)
    index: dict[str, dict[str, str]] = {}
    for name, wheel_or_bytes, code, where in rejected():
        _write(folder / "reject" / "wheel" / name / NAME, wheel_or_bytes)
        index[name] = {"expect": code, "where": where}
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (folder / "reject" / "wheel" / "expect.json").write_text(text)


def _write(path: Path, wheel: RawWheel | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wheel if isinstance(wheel, bytes) else wheel.packed())


if __name__ == "__main__":
    write_vectors(FOLDER)
