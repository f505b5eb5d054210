"""Where the files of a wheel may go once it is installed.

A wheel is installed into an environment of its own, beside other wheels and the
interpreter. It may not bring what runs by itself when Python starts, replace the
interpreter's own files, or write outside the folders named here.
"""

import re
from typing import Final

from bundleformat.errors import MalformedError

SCHEMES: Final = frozenset({"purelib", "platlib", "scripts", "headers", "data"})
"""Folders below ``NAME-VERSION.data``. Source: PEP 427, "The .data directory"."""

DATA_FOLDERS: Final = frozenset({"share", "etc"})
"""What ``data`` may hold. It lies beside ``bin``, ``lib`` and ``pyvenv.cfg``."""

STARTUP_MODULES: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that Python imports by itself when it starts. Source: docs, ``site``."""

_RESERVED = re.compile(
    r"(?:python|pypy|activate|pip)[0-9.]*(?:\.(?:exe|ps1|csh|fish))?"
)
_SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", re.ASCII)


def check_place(name: str, *, prefix: str, distribution: str) -> str | None:
    """Check where member ``name`` goes; return its name if it is a script.

    ``prefix`` is ``NAME-VERSION`` as the archive writes it.

    Raises:
        MalformedError: It goes where no wheel may write, or runs by itself.
    """
    top, *below = name.split("/")
    if not top.endswith(".data"):
        _check_library([top, *below], name=name)
        return None
    if top != f"{prefix}.data":
        raise MalformedError("the data folder of another wheel", where=name)
    scheme = below[0] if below else ""
    if scheme not in SCHEMES or len(below) < 2:
        raise MalformedError("an unknown kind of data", where=name)
    inside = below[1:]
    match scheme:
        case "scripts":
            if len(inside) != 1:
                raise MalformedError("a script in a folder", where=name)
            check_script(inside[0], where=name, distribution=distribution)
            return inside[0]
        case "data" if inside[0] not in DATA_FOLDERS or len(inside) < 2:
            raise MalformedError(
                "data outside share and etc",
                where=name,
                hint="It could replace the environment's interpreter or modules.",
            )
        case "purelib" | "platlib":
            _check_library(inside, name=name)
    return None


def check_script(script: str, *, where: str, distribution: str) -> None:
    """Check that a command may be called ``script``.

    Raises:
        MalformedError: Not a plain file name, or that of the interpreter.
    """
    if not _SCRIPT.fullmatch(script):
        raise MalformedError("not the name of a command", where=where)
    if _RESERVED.fullmatch(script.lower()) and distribution != "pip":
        raise MalformedError(
            "a command in the place of the environment's own", where=where
        )


def _check_library(parts: list[str], *, name: str) -> None:
    # Python runs lines of *.pth and these modules at every start, in every
    # program of the environment, whether or not anyone imports the wheel.
    if len(parts) == 1 and parts[0].lower().endswith(".pth"):
        raise MalformedError("a .pth file runs whenever Python starts", where=name)
    if parts[0].lower().split(".")[0] in STARTUP_MODULES:
        raise MalformedError("a module that runs whenever Python starts", where=name)
