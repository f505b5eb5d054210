"""llama-cpp-python really compiled for a CPU level; minutes, unless it is kept."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bundleformat.paths import Name
from bundler.progress import SilentMeter
from bundler.wheels.build import build_sources
from bundler.wheels.environment import read_wheel
from bundler.wheels.target import WheelsSpec


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
def test_llama_for_v3_holds_avx2_and_no_avx512(tmp_path: Path) -> None:
    default = Path("~/.cache/sallyport-tests/wheels").expanduser()
    cache = Path(os.environ.get("SALLYPORT_TEST_WHEELS", default))
    cache.mkdir(parents=True, exist_ok=True)
    spec = WheelsSpec(
        name=Name("team"),
        requirements=("llama-cpp-python",),
        python="3.11",
        glibc="2.99",
        cpu="x86-64-v3",
        role="team",
        source_only=("llama-cpp-python==0.3.36",),
    )
    (path,) = build_sources(spec, cache=cache, meter=SilentMeter(), index=())
    libraries = read_wheel(path, spec=spec).facts.libraries
    assert any("libgomp" in name for name in libraries)
    shutil.unpack_archive(path, tmp_path, "zip")
    found = subprocess.run(
        ["objdump", "-d", str(tmp_path / "llama_cpp/lib/libggml-cpu.so")],  # noqa: S607 - binutils, wherever it is
        capture_output=True,
        check=True,
    ).stdout
    assert b"%ymm" in found
    assert b"%zmm" not in found
