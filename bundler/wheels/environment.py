"""Locks an environment: gather local wheels, compile, resolve, check, write.

Nothing is signed here. Each wheel was linted with the host's own code, fits the
target, and needs no newer C library than the target has.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundleformat.artifact import Environment
from bundleformat.digest import Sha256, hash_reader
from bundleformat.errors import MissingError, RefusalError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.wheel import (
    PLAIN_LINUX,
    WheelHost,
    check_fits,
    needed_glibc,
    parse_wheel_name,
)
from bundleformat.wheel_lint import lint_wheel
from bundler.progress import Meter
from bundler.wheels.build import build_project, build_sources
from bundler.wheels.lock import (
    LockedEnvironment,
    LockedWheel,
    write_lock,
    write_requirements,
)
from bundler.wheels.resolve import (
    OLDEST_GLIBC,
    check_closed,
    check_local,
    download,
    index_options,
)
from bundler.wheels.target import WheelsSpec


def lock_environment(
    spec: WheelsSpec, *, cache: Path, meter: Meter
) -> LockedEnvironment:
    """Return the environment of ``spec``, its wheels lying below ``cache``.

    Raises:
        MissingError: A path in ``find`` is not there.
        RefusalError: There is no such set of wheels, or one of them cannot be
            delivered; ``where`` names it.
        StorageFaultError: pip cannot be started.
    """
    cache = cache.expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        projects, found = Path(scratch) / "projects", Path(scratch) / "found"
        projects.mkdir()
        found.mkdir()
        built = build_sources(spec, cache=cache, meter=meter, index=index_options(spec))
        local = {
            parse_wheel_name(path.name).distribution: path
            for path in (*built, *_local(spec, out=projects))
        }
        meter.stage(f"Choosing wheels for {spec.name}", 0)
        download(spec, local=local, out=found)
        wheels = _keep(found, cache=cache, meter=meter, spec=spec)
        check_local(
            [(wheel.facts.name.distribution, wheel.sha256) for wheel in wheels],
            {name: _digest(path) for name, path in local.items()},
        )
    check_closed([wheel.facts for wheel in wheels], spec)
    return LockedEnvironment(
        wheels=wheels,
        lock=write_lock(wheels, python=spec.python),
        requirements=write_requirements(wheels),
        environment=Environment(
            python=spec.python,
            platform=spec.platform,
            glibc=_glibc(wheels),
            cpu=spec.cpu,
            role=spec.role,
            wheels=tuple(wheel.name for wheel in wheels),
        ),
    )


def read_wheel(path: Path, *, spec: WheelsSpec) -> LockedWheel:
    """Return the wheel at ``path``, if it is one that the target can have.

    Raises:
        RefusalError: It breaks the format, or needs more than the target has.
    """
    name = parse_wheel_name(path.name)
    try:
        check_fits(name, WheelHost(python=spec.python, glibc=spec.glibc))
        with path.open("rb") as file:
            sha256, size_bytes = hash_reader(
                file, max_bytes=DEFAULT_LIMITS.wheel_bytes, where=path.name
            )
            facts = lint_wheel(file, filename=path.name, size_bytes=size_bytes)
    except RefusalError as error:
        raise error if error.where == path.name else error.inside(path.name) from error
    if facts.libraries and PLAIN_LINUX in name.platforms and not needed_glibc(name):
        raise RefusalError(
            "the wheel does not say which C library it needs",
            where=path.name,
            expected="a manylinux platform",
            hint="Name it in `source_only`, or repair it with auditwheel.",
        )
    return LockedWheel(
        path=path,
        name=name.artifact,
        sha256=sha256,
        size_bytes=size_bytes,
        facts=facts,
    )


def _local(spec: WheelsSpec, *, out: Path) -> Iterator[Path]:
    for place in spec.find:
        if place.is_file():
            yield place.resolve()
        elif (place / "pyproject.toml").is_file():
            yield build_project(place.resolve(), out=out, spec=spec)
        elif place.is_dir():
            yield from sorted(place.resolve().glob("*.whl"))
        else:
            raise MissingError(
                "no such wheel, folder of wheels or project",
                where=str(place),
                hint="Correct `find` in the spec.",
            )


def _glibc(wheels: Sequence[LockedWheel]) -> str:
    """Return the oldest C library that all of ``wheels`` run on."""
    needed = [needed_glibc(wheel.facts.name) for wheel in wheels]
    minors = [int(text.split(".")[1]) for text in needed if text is not None]
    return f"2.{max(minors, default=OLDEST_GLIBC)}"


def _digest(path: Path) -> Sha256:
    with path.open("rb") as file:
        return hash_reader(file, max_bytes=DEFAULT_LIMITS.wheel_bytes, where=path.name)[
            0
        ]


def _keep(
    found: Path, *, cache: Path, meter: Meter, spec: WheelsSpec
) -> tuple[LockedWheel, ...]:
    """Check each wheel and move it to its place in the cache, by its digest."""
    paths = sorted(found.iterdir())
    meter.stage(
        f"Checking wheels for {spec.name}", sum(p.stat().st_size for p in paths)
    )
    kept: list[LockedWheel] = []
    for path in paths:
        wheel = read_wheel(path, spec=spec)
        place = cache / "wheels" / wheel.sha256 / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
        kept.append(read_wheel(place, spec=spec))
        meter.advance(wheel.size_bytes)
    return tuple(sorted(kept, key=lambda wheel: wheel.name))
