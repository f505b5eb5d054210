"""A small package that comes as source: compiled, made portable, kept."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bundleformat.errors import RefusalError
from bundleformat.paths import Name
from bundler.progress import SilentMeter
from bundler.wheels.build import build_sources
from bundler.wheels.environment import read_wheel
from bundler.wheels.target import WheelsSpec

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="there is no C compiler"
)

BACKEND = """
import base64, hashlib, os, subprocess, sys, zipfile

TAG = f"cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-linux_x86_64"

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    # Asked when the source is only fetched, before any flags are known.
    info = os.path.join(folder, "compiled-1.0.dist-info")
    os.mkdir(info)
    with open(os.path.join(info, "METADATA"), "wb") as file:
        file.write(b"Metadata-Version: 2.1\\nName: compiled\\nVersion: 1.0\\n")
    return "compiled-1.0.dist-info"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    assert "-DGGML_NATIVE=OFF" in os.environ["CMAKE_ARGS"]
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-fopenmp", "part.c", "-o", "part.so"], check=True
    )
    members = {"part.so": open("part.so", "rb").read()}
    members["compiled-1.0.dist-info/METADATA"] = (
        b"Metadata-Version: 2.1\\nName: compiled\\nVersion: 1.0\\n"
    )
    members["compiled-1.0.dist-info/WHEEL"] = (
        f"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: false\\nTag: {TAG}\\n"
    ).encode()
    record = ""
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
        record += f"{name},sha256={digest.rstrip(b'=').decode()},{len(data)}\\n"
    members["compiled-1.0.dist-info/RECORD"] = (
        record + "compiled-1.0.dist-info/RECORD,,\\n"
    ).encode()
    name = f"compiled-1.0-{TAG}.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return name
"""

PROJECT = """\
[project]
name = "compiled"
version = "1.0"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

CODE = """\
#include <omp.h>
int threads(void) { return omp_get_max_threads(); }
"""


def source(folder: Path, *, code: str = CODE) -> Path:
    """Write the source distribution, and return the folder it lies in."""
    folder.mkdir()
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: compiled\nVersion: 1.0\n",
        "pyproject.toml": PROJECT,
        "backend.py": BACKEND,
        "part.c": code,
    }
    with tarfile.open(folder / "compiled-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"compiled-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return folder


def build(folder: Path, *, cache: Path) -> Path:
    cache.mkdir(exist_ok=True)
    spec = spec_of()
    (wheel,) = build_sources(
        spec,
        cache=cache,
        meter=SilentMeter(),
        index=("--no-index", "--find-links", str(folder)),
    )
    return wheel


def spec_of() -> WheelsSpec:
    return WheelsSpec(
        name=Name("team"),
        requirements=("compiled",),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        glibc="2.99",
        cpu="x86-64-v3",
        role="team",
        source_only=("compiled==1.0",),
    )


def test_what_cannot_be_compiled_is_refused_and_not_kept(tmp_path: Path) -> None:
    folder = source(tmp_path / "index", code="not C at all\n")
    with pytest.raises(RefusalError) as caught:
        build(folder, cache=tmp_path / "cache")
    assert caught.value.where == "pip"
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_compiled_wheel_carries_its_libraries_and_names_its_c_library(
    tmp_path: Path,
) -> None:
    folder = source(tmp_path / "index")
    wheel = build(folder, cache=tmp_path / "cache")
    assert "manylinux_2_" in wheel.name
    facts = read_wheel(wheel, spec=spec_of()).facts
    assert any("libgomp" in name for name in facts.libraries)
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).threads() > 0)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "unpacked" / "part.so")],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"True\n"

    # It is compiled once: with the compiler gone the kept wheel still serves.
    before = wheel.stat().st_mtime_ns
    assert build(folder, cache=tmp_path / "cache") == wheel
    assert wheel.stat().st_mtime_ns == before
