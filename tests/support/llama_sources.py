"""Files of llama.cpp's sources, which hold the vocabularies of known families.

They are fetched once by pip, from the very source distribution that the engine is
compiled from, and kept in a cache folder: ``SALLYPORT_TEST_SOURCES``, or one below
the home folder. Nothing of them is committed, and nothing else of the archive is
written to the disk.
"""

import functools
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

DISTRIBUTION = "llama-cpp-python==0.3.36"
ARCHIVE = "llama_cpp_python-0.3.36.tar.gz"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
MODELS = "llama_cpp_python-0.3.36/vendor/llama.cpp/models/"


def vocabulary(name: str) -> Path:
    """Return the GGUF that holds nothing but a vocabulary."""
    return source_file(f"ggml-vocab-{name}.gguf")


def template(name: str) -> str:
    """Return a family's own chat template."""
    return source_file(f"templates/{name}.jinja").read_text("utf-8")


def examples(name: str) -> list[tuple[str, list[int]]]:
    """Return texts and the tokens that the family's own tokenizer makes of them."""
    texts = source_file(f"ggml-vocab-{name}.gguf.inp").read_bytes().decode("utf-8")
    lines = source_file(f"ggml-vocab-{name}.gguf.out").read_text("ascii")
    each = texts.split("\n__ggml_vocab_test__\n")
    if each[-1] == "":
        each.pop()  # Most files have a separator after the last text, too.
    tokens = [[int(token) for token in line.split()] for line in lines.splitlines()]
    return list(zip(each, tokens, strict=True))


def source_file(name: str) -> Path:
    """Return a file below ``models`` of llama.cpp's sources."""
    path = _cache() / name.replace("/", "_")
    if not path.is_file():
        data = _read(name)
        partial = path.with_suffix(f"{path.suffix}.{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(path)
    return path


def _read(name: str) -> bytes:
    with tarfile.open(_archive()) as archive:
        member = archive.extractfile(MODELS + name)
        assert member is not None
        return member.read()


@functools.cache
def _archive() -> Path:
    path = _cache() / ARCHIVE
    if not path.is_file():
        wanted = _cache() / f"wanted.{os.getpid()}.txt"
        wanted.write_text(f"{DISTRIBUTION} --hash=sha256:{SHA256}\n", "ascii")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        places = ("--requirement", str(wanted), "--dest", str(_cache()))
        subprocess.run((*pip, "--no-binary", ":all:", *places), check=True)
        wanted.unlink()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


@functools.cache
def _cache() -> Path:
    default = Path("~/.cache/sallyport-tests/sources").expanduser()
    folder = Path(os.environ.get("SALLYPORT_TEST_SOURCES", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
