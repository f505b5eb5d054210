"""Compiles packages that come as source, once, for the CPU that a spec names.

A built wheel is kept by everything that made it: digest of the source, flags,
Python and tools. The same source is never compiled twice for one target.
"""

import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bundleformat.artifact import CpuLevel
from bundleformat.digest import sha256_of
from bundleformat.errors import RefusalError
from bundleformat.zip_layout import read_members
from bundler.progress import Meter
from bundler.wheels.run import SOURCE_DATE_EPOCH, run_auditwheel, run_pip
from bundler.wheels.target import CPU_LEVELS, WheelsSpec, pinned

LEVEL_OF: Final[dict[str, CpuLevel]] = {
    "SSE42": "x86-64-v2",
    "AVX": "x86-64-v3",
    "AVX2": "x86-64-v3",
    "BMI2": "x86-64-v3",
    "FMA": "x86-64-v3",
    "F16C": "x86-64-v3",
    "AVX512": "x86-64-v4",
}
"""The least level that has each set of instructions ggml can be told to use.

Source: x86-64 psABI supplement, table 3.1; ``ggml/CMakeLists.txt``.
"""

NEVER: Final = (
    "AVX_VNNI",
    "AVX512_VBMI",
    "AVX512_VNNI",
    "AVX512_BF16",
    "AMX_TILE",
    "AMX_INT8",
    "AMX_BF16",
)
"""Sets that no level promises."""


def cmake_arguments(cpu: CpuLevel) -> str:
    """Return the flags that make llama.cpp run on every processor of ``cpu``.

    Each is stated, on or off: with ``SOURCE_DATE_EPOCH`` in the environment ggml
    would silently leave all of them off, and without it take this machine's.
    """
    level = CPU_LEVELS.index(cpu)
    chosen = {name: CPU_LEVELS.index(LEVEL_OF[name]) <= level for name in LEVEL_OF}
    chosen |= dict.fromkeys(NEVER, False)
    chosen |= {"NATIVE": False, "OPENMP": True, "CCACHE": False, "BLAS": False}
    return " ".join(
        f"-DGGML_{name}={'ON' if on else 'OFF'}" for name, on in sorted(chosen.items())
    )


def build_sources(
    spec: WheelsSpec, *, cache: Path, meter: Meter, index: Sequence[str]
) -> tuple[Path, ...]:
    """Return the wheels of ``spec.source_only``, compiling those not kept yet.

    ``index`` are pip's options that say where to look.

    Raises:
        RefusalError: One cannot be fetched or compiled, or this Python is not
            the one of the target.
    """
    if spec.source_only:
        check_same_python(spec)
    return tuple(
        _build(text, spec=spec, cache=cache, meter=meter, index=index)
        for text in spec.source_only
    )


def build_project(folder: Path, *, out: Path, spec: WheelsSpec) -> Path:
    """Return the wheel of the project in ``folder``, built into ``out``.

    Raises:
        RefusalError: It cannot be built.
    """
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        run_pip(
            ["wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, str(folder)],
            what=f"build a wheel of {folder}",
            own_index=False,
            extra={"CMAKE_ARGS": cmake_arguments(spec.cpu)},
        )
        return _move_only(Path(scratch), out)


def check_same_python(spec: WheelsSpec) -> None:
    """Check that what this machine compiles can run on the target.

    Raises:
        RefusalError: Another Python, or no Linux on x86-64.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = f"{sys.platform}_{platform.machine()}"
    if (here, machine) != (spec.python, spec.platform):
        raise RefusalError(
            "cannot be compiled by this Python for that one",
            where=", ".join(spec.source_only),
            expected=f"Python {spec.python} on {spec.platform}",
            actual=f"Python {here} on {machine}",
            hint="Run the bundler under the Python that the hosts have.",
        )


def _build(
    text: str, *, spec: WheelsSpec, cache: Path, meter: Meter, index: Sequence[str]
) -> Path:
    name, _ = pinned(text)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        source = _fetch(text, name=name, folder=Path(scratch), index=index)
        flags = cmake_arguments(spec.cpu)
        made_of = (
            sha256_of(source.read_bytes()),
            flags,
            spec.python,
            SOURCE_DATE_EPOCH,
        )
        kept = cache / "built" / sha256_of("\n".join(made_of).encode())
        if not kept.exists():
            meter.stage(f"Compiling {text}; this takes minutes", source.stat().st_size)
            _compile(source, flags=flags, kept=kept, index=index)
            meter.advance(source.stat().st_size)
        return next(kept.glob("*.whl"))


def _fetch(text: str, *, name: str, folder: Path, index: Sequence[str]) -> Path:
    run_pip(
        [
            *("download", "--quiet", "--no-deps", "--no-binary", name),
            *("--dest", str(folder), *index, text),
        ],
        what=f"fetch the source of {text}",
        own_index="--index-url" in index,
    )
    return _only(folder)


def _compile(source: Path, *, flags: str, kept: Path, index: Sequence[str]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        raw, done = Path(scratch) / "raw", Path(scratch) / "done"
        done.mkdir()
        run_pip(
            [
                *("wheel", "--quiet", "--no-deps", "--no-cache-dir"),
                *("--wheel-dir", str(raw), *index, str(source)),
            ],
            what=f"compile {source.name}",
            own_index="--index-url" in index,
            extra={"CMAKE_ARGS": flags},
        )
        wheel = _only(raw)
        if wheel.name.endswith("-any.whl"):
            shutil.move(wheel, done)
        else:
            run_auditwheel(wheel, out=done, own=_libraries(wheel))
        _only(done)
        done.rename(kept)


def _libraries(wheel: Path) -> tuple[str, ...]:
    """Return the file names of shared libraries in ``wheel``."""
    with wheel.open("rb") as file:
        members = read_members(file, size_bytes=wheel.stat().st_size)
    names = {member.name.rsplit("/", 1)[-1] for member in members}
    return tuple(sorted(name for name in names if ".so" in name))


def _only(folder: Path) -> Path:
    found = sorted(folder.iterdir())
    if len(found) != 1:
        raise RefusalError(
            "not exactly one file was made",
            where=str(folder),
            actual=", ".join(path.name for path in found),
        )
    return found[0]


def _move_only(folder: Path, out: Path) -> Path:
    made = _only(folder)
    return made.replace(out / made.name)
