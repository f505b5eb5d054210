"""llama.cpp's own programs, built from the source that our engine is built from.

``llama-server`` and ``llama-batched-bench`` come out of the source distribution
of llama-cpp-python at the installed version: the same kernels, the same compiler,
this machine's processor. They are built once, into a cache folder.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "llama-cpp-python"

CACHE_VARIABLE = "SALLYPORT_BENCH_CACHE"
"""Environment variable that names another cache folder."""

TARGETS = ("llama-server", "llama-batched-bench")
"""Programs that are built."""

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
)
"""No network, no web pages; otherwise llama.cpp's own defaults."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """Where the programs and their sources lie."""

    programs: Path
    source: Path

    @property
    def server(self) -> Path:
        """The path of ``llama-server``."""
        return self.programs / "llama-server"

    @property
    def batched_bench(self) -> Path:
        """The path of ``llama-batched-bench``."""
        return self.programs / "llama-batched-bench"

    @property
    def batch_example(self) -> Path:
        """The path of llama-cpp-python's example of a batching server."""
        return self.source / "examples" / "server" / "server.py"

    def vocabulary(self, name: str) -> Path:
        """Return the path of a family's tokenizer, in a GGUF without weights."""
        models = self.source / "vendor" / "llama.cpp" / "models"
        return models / f"ggml-vocab-{name}.gguf"


def peers() -> Peers:
    """Return the peers of the installed llama-cpp-python, built if they are not."""
    version = importlib.metadata.version(PACKAGE)
    cache = _cache() / f"{PACKAGE}-{version}"
    found = Peers(
        programs=cache / "build" / "bin",
        source=cache / f"{PACKAGE.replace('-', '_')}-{version}",
    )
    if not found.source.is_dir():
        _fetch(cache, version)
    if not all((found.programs / target).is_file() for target in TARGETS):
        _build(cache, found.source)
    return found


def _cache() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "sallyport-bench"


def _fetch(cache: Path, version: str) -> None:
    """Fetch the source distribution with pip and unpack it."""
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", PACKAGE, "--dest", str(cache), f"{PACKAGE}=={version}"]
    subprocess.run(command, check=True)
    (archive,) = cache.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        for member in packed:
            if member.isfile() and ".." not in Path(member.name).parts:
                target = cache / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = packed.extractfile(member)
                assert stream is not None  # noqa: S101  # it is a file
                target.write_bytes(stream.read())


def _build(cache: Path, source: Path) -> None:
    """Compile the programs: about ten minutes on two cores."""
    print("building llama.cpp's programs, once ...", file=sys.stderr, flush=True)
    build, tree = cache / "build", source / "vendor" / "llama.cpp"
    cmake = shutil.which("cmake")
    if cmake is None:
        raise RuntimeError("cmake is needed to build the peers: apt-get install cmake")
    subprocess.run([cmake, "-S", tree, "-B", build, *OPTIONS], check=True)
    jobs = str(len(os.sched_getaffinity(0)))
    command = [cmake, "--build", str(build), "-j", jobs, "--target", *TARGETS]
    subprocess.run(command, check=True)
