"""Finds the wheels of an environment for its target, and checks that none lacks.

pip chooses for Python, platform and C library of the target, from wheels alone.
It weighs conditions ("only on Windows", "only before 3.12") for the Python that
runs it, so what it found is checked again for the target's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bundleformat.errors import RefusalError
from bundleformat.wheel_lint import WheelFacts
from bundler.wheels.run import run_pip
from bundler.wheels.target import WheelsSpec

INSTALLER: Final = "pip>=26"
"""Added to every environment: hosts have no pip, or one with known faults.

Source: CVE-2026-1703, fixed in pip 26.0.
"""

OLDEST_GLIBC: Final = 5
"""Minor version of the oldest C library that has a platform's name."""


def index_options(spec: WheelsSpec) -> tuple[str, ...]:
    """Return pip's options that say which index to ask."""
    return ("--index-url", spec.index) if spec.index is not None else ()


def platforms(glibc: str) -> tuple[str, ...]:
    """Return the platforms that a host with that C library runs, newest first."""
    newest = int(glibc.split(".")[1])
    names = [f"manylinux_2_{n}_x86_64" for n in range(newest, OLDEST_GLIBC - 1, -1)]
    for minor, old in ((17, "2014"), (12, "2010"), (5, "1")):
        if minor <= newest:
            names.append(f"manylinux{old}_x86_64")
    return (*names, "linux_x86_64")


def download(spec: WheelsSpec, *, local: Mapping[str, Path], out: Path) -> None:
    """Put into ``out`` a wheel for everything that ``spec`` asks for.

    ``local`` are wheels by distribution that nothing else may replace.

    Raises:
        RefusalError: There is no such set of wheels for the target.
    """
    constraints = out.parent / "constraints.txt"
    constraints.write_text(
        "".join(f"{name} @ {path.as_uri()}\n" for name, path in sorted(local.items()))
        + "".join(f"{text}\n" for text in spec.constraints),
        encoding="utf-8",
    )
    version = spec.python.replace(".", "")
    options = [
        *("--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", spec.python),
        *(part for abi in (f"cp{version}", "abi3", "none") for part in ("--abi", abi)),
        *(part for name in platforms(spec.glibc) for part in ("--platform", name)),
    ]
    run_pip(
        [
            *("download", "--quiet", "--dest", str(out), *options),
            *("--constraint", str(constraints), *index_options(spec)),
            *(_direct(text, local) for text in spec.requirements),
            INSTALLER,
        ],
        what=f"find wheels for {spec.name}",
        own_index=spec.index is not None,
    )


def check_local(facts: Iterable[tuple[str, str]], local: Mapping[str, str]) -> None:
    """Check that no wheel replaced a local one of its name.

    Both are digests by distribution. Somebody else may have published under a
    name that is used here, at a higher version.

    Raises:
        RefusalError: A wheel of another source was chosen.
    """
    for name, sha256 in facts:
        if local.get(name, sha256) != sha256:
            raise RefusalError(
                "a wheel from an index in the place of the local one",
                where=name,
                expected=f"sha256 {local[name]}",
                actual=f"sha256 {sha256}",
            )


def _direct(text: str, local: Mapping[str, Path]) -> str:
    """Return the requirement with the address of the local wheel, if there is one.

    A constraint does not keep pip from an index's releases of that name.
    """
    requirement = Requirement(text)
    path = local.get(canonicalize_name(requirement.name))
    if path is None:
        return text
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{extras} @ {path.as_uri()}{marker}"


def check_closed(facts: Sequence[WheelFacts], spec: WheelsSpec) -> None:
    """Check that everything asked for on the target is there, at a version that fits.

    Raises:
        RefusalError: A requirement that no wheel meets, or a wheel for another
            Python; ``where`` names the wheel that asks.
    """
    found = {item.name.distribution: item for item in facts}
    wanted = [("requirements", Requirement(text)) for text in spec.requirements]
    seen: set[tuple[str, str]] = set()
    while wanted:
        where, requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        item = found.get(name)
        if item is None or not requirement.specifier.contains(
            item.version, prereleases=True
        ):
            raise RefusalError(
                "a requirement that nothing in the environment meets",
                where=where,
                expected=str(requirement),
                actual=item.version if item else "",
                hint=f"Run the bundler under Python {spec.python}, as the hosts do.",
            )
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                wanted += _asked(item, extra=extra, spec=spec)
    for item in facts:
        _check_python(item, spec)


def _asked(
    item: WheelFacts, *, extra: str, spec: WheelsSpec
) -> Iterable[tuple[str, Requirement]]:
    target = {
        "python_version": spec.python,
        "python_full_version": f"{spec.python}.0",
        "implementation_name": "cpython",
        "implementation_version": f"{spec.python}.0",
        "platform_python_implementation": "CPython",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": extra,
    }
    for text in item.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise RefusalError(
                "not a requirement", where=item.name.filename, actual=ascii(text)
            ) from error
        if requirement.marker is None:
            applies = extra == ""
        else:
            applies = requirement.marker.evaluate(target)
        if applies:
            yield item.name.filename, requirement


def _check_python(item: WheelFacts, spec: WheelsSpec) -> None:
    if not item.requires_python:
        return
    try:
        takes = SpecifierSet(item.requires_python)
    except InvalidSpecifier as error:
        raise RefusalError(
            "not versions of Python", where=item.name.filename
        ) from error
    # Any patch release of the target's minor version may be on the host.
    if not any(takes.contains(f"{spec.python}.{patch}") for patch in (0, 99)):
        raise RefusalError(
            "the wheel is for another Python",
            where=item.name.filename,
            expected=spec.python,
            actual=item.requires_python,
        )
