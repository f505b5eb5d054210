"""How a spec names an environment of wheels; values and their parsing only.

::

    [[wheels]]
    name = "appliance"
    role = "appliance"                  # or "team": for a team's own programs
    python = "3.11"
    platform = "linux_x86_64"
    glibc = "2.36"                      # of the oldest host
    cpu = "x86-64-v3"                   # of the weakest host
    requirements = ["sallyport[appliance]"]
    find = ["dist"]                     # folders of wheels, wheels, or projects
    source_only = ["llama-cpp-python==0.3.36"]  # what may be compiled here
    constraints = ["numpy==2.4.6"]      # versions to keep to
    index = "https://pypi.example.org/simple"   # default: what pip is set up for

``find`` is looked at first: what lies there is never taken from an index.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundleformat.artifact import CpuLevel, Role
from bundleformat.fields import Fields
from bundleformat.paths import Name, parse_name
from bundler.errors import SpecError

PLATFORM: Final = "linux_x86_64"
"""The one platform that hosts have."""

ROLES: Final[tuple[Role, ...]] = ("appliance", "team")
"""Whom an environment can be for."""

CPU_LEVELS: Final[tuple[CpuLevel, ...]] = (
    "x86-64",
    "x86-64-v2",
    "x86-64-v3",
    "x86-64-v4",
)
"""What a processor can be asked to offer, from little to much."""

MAX_REQUIREMENTS: Final = 1_024
"""Most requirements, and most entries of any other list, of one environment."""

MAX_CHARACTERS: Final = 4_096
"""Longest path, requirement or address in a spec."""

_PYTHON = re.compile(r"3\.(?:9|[1-9][0-9])", re.ASCII)
_GLIBC = re.compile(r"2\.(?:[5-9]|[1-9][0-9])", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelsSpec:
    """One environment to deliver.

    Attributes:
        name: What it is called; its lock is ``pylock.NAME.toml``.
        requirements: What is asked for, as PEP 508 writes it, without URLs.
        find: Where wheels lie that no index may replace: folders of wheels,
            wheel files, or folders of projects that a wheel is built from.
        source_only: What may be compiled on this machine, each at one version.
        constraints: Versions to keep to, whether or not they are asked for.
        python: Minor version of the host's Python.
        platform: Always ``PLATFORM``.
        glibc: The oldest host's C library.
        cpu: What the weakest host's processor offers.
        role: Whom the environment is for.
        index: The only index to ask, or None for what pip is set up for.
    """

    name: Name
    requirements: tuple[str, ...]
    python: str
    glibc: str
    cpu: CpuLevel
    role: Role
    platform: str = PLATFORM
    find: tuple[Path, ...] = ()
    source_only: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    index: str | None = None


def parse_wheels(fields: Fields, *, folder: Path) -> WheelsSpec:
    """Return the table in ``fields``; its paths are relative to ``folder``.

    Raises:
        SpecError: A value that no environment can have; ``where`` names it.
        MalformedError, LimitExceededError: As ``Fields`` says.
    """
    spec = WheelsSpec(
        name=parse_name(
            fields.text("name", max_characters=64), where=fields.place("name")
        ),
        requirements=_requirements(fields, "requirements"),
        find=tuple(folder / item for item in _texts(fields, "find")),
        source_only=_requirements(fields, "source_only", exact=True),
        constraints=_requirements(fields, "constraints"),
        python=_matching(fields, "python", _PYTHON, "such as 3.11"),
        platform=_choice(fields, "platform", (PLATFORM,)),
        glibc=_matching(fields, "glibc", _GLIBC, "such as 2.36"),
        cpu=cast("CpuLevel", _choice(fields, "cpu", CPU_LEVELS)),
        role=cast("Role", _choice(fields, "role", ROLES)),
        index=_index(fields) if fields.has("index") else None,
    )
    if not spec.requirements:
        raise SpecError("nothing to install", where=fields.place("requirements"))
    fields.finish()
    return spec


def pinned(text: str) -> tuple[str, str]:
    """Return normalised name and version of a requirement ``NAME==VERSION``.

    Raises:
        SpecError: It is another kind of requirement.
    """
    requirement = Requirement(text)
    specifiers = list(requirement.specifier)
    exact = len(specifiers) == 1 and specifiers[0].operator == "=="
    if not exact or requirement.marker or "*" in specifiers[0].version:
        raise SpecError(
            "not one version",
            where=text,
            expected="NAME==VERSION",
            hint="What is compiled here runs its author's code on this machine; name "
            "exactly the release that was looked at.",
        )
    return canonicalize_name(requirement.name), specifiers[0].version


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    if not fields.has(key):
        return ()
    return tuple(
        _text(item, where=where)
        for item, where in fields.items(key, max_items=MAX_REQUIREMENTS)
    )


def _text(item: Any, *, where: str) -> str:  # noqa: ANN401 - any TOML value
    if not isinstance(item, str) or not item.isprintable():
        raise SpecError("not a printable text", where=where)
    if not 0 < len(item) <= MAX_CHARACTERS:
        raise SpecError("empty or too long", where=where)
    return item


def _requirements(fields: Fields, key: str, *, exact: bool = False) -> tuple[str, ...]:
    found = _texts(fields, key)
    for index, text in enumerate(found):
        where = f"{fields.place(key)}[{index}]"
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise SpecError(
                "not a requirement", where=where, actual=ascii(text)
            ) from error
        if requirement.url is not None:
            raise SpecError(
                "a requirement with an address",
                where=where,
                hint="Put the wheel, or the project, in `find` and ask for its name.",
            )
        if exact:
            _check_pinned(text, where=where)
    return found


def _check_pinned(text: str, *, where: str) -> None:
    try:
        pinned(text)
    except SpecError as error:
        raise error.inside(where) from None


def _matching(fields: Fields, key: str, pattern: re.Pattern[str], expected: str) -> str:
    found = fields.text(key, max_characters=16)
    if not pattern.fullmatch(found):
        raise SpecError(
            f"not a version of {key}",
            where=fields.place(key),
            expected=expected,
            actual=ascii(found),
        )
    return found


def _choice(fields: Fields, key: str, known: tuple[str, ...]) -> str:
    found = fields.text(key, max_characters=64)
    if found not in known:
        raise SpecError(
            f"unknown {key}",
            where=fields.place(key),
            expected=" or ".join(known),
            actual=ascii(found),
        )
    return found


def _index(fields: Fields) -> str:
    found = fields.text("index", max_characters=MAX_CHARACTERS)
    where = fields.place("index")
    try:
        parts = urlsplit(found)
    except ValueError as error:
        raise SpecError("not an address", where=where) from error
    if parts.username is not None or parts.password is not None:
        raise SpecError(
            "a password does not belong in a spec",
            where=where,
            hint="Put it where pip looks for it: ~/.netrc, or a keyring.",
        )
    if parts.scheme not in {"https", "http", "file"}:
        raise SpecError("not an address of an index", where=where, actual=ascii(found))
    return found
