"""A connected machine beside the scene, where bundles come from."""

import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundler.signing.keys import create_key
from bundler.signing.passphrase import Passphrases
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.guides.shell import PASSPHRASE, Shell

SIGN = "--release-key keys/release.key --bundler-key keys/bundler.key"
"""What signs a bundle of ``new_publisher``."""

MODEL = """
[[models]]
name = "{name}"
path = "{name}-{seed}.gguf"
licence = "Apache-2.0"
origin = "a file of ours"
allowed_regions = ["in-blr"]
intended_use = "summaries of claims"
review_by = "2030-06-30"
"""


HOLDERS = {"bela": "Bela Toth", "chen": "Chen Wei"}
"""The people among the names of keys."""


def hand_out(shell: Shell, *names: str) -> None:
    """Put key pairs into ``keys``, as ``keygen`` makes them."""
    (shell.desk / "keys").mkdir(parents=True, exist_ok=True)
    for name in names:
        for ending, data in _key_pair(name).items():
            path = shell.desk / "keys" / f"{name}{ending}"
            path.touch(mode=0o600)
            path.write_bytes(data)


@functools.cache
def _key_pair(name: str) -> Mapping[str, bytes]:
    """Make a key pair once in a process: stretching a passphrase takes its time."""
    with tempfile.TemporaryDirectory() as folder:
        pair = create_key(
            Path(folder) / name,
            Passphrases(file=None, ask=lambda _: PASSPHRASE),
            holder=HOLDERS.get(name, ""),
        )
        paths = (pair.private_path, pair.public_path)
        return {path.suffix: path.read_bytes() for path in paths}


def new_publisher(scene: Shell, *, days: int) -> Shell:
    """Return a machine with four keys and a root, whose clock is ``days`` back."""
    press = Shell(scene.root / "elsewhere", days=days)
    make_root_of(press)
    return press


def make_root_of(press: Shell) -> None:
    """Put four keys and a root on a machine."""
    hand_out(press, "root", "release", "bundler", "compliance")
    press.does(
        "sallyport-bundler root init --channel main --out root"
        " --root-key keys/root.key --release-key keys/release.pub"
        " --bundler-key keys/bundler.pub --compliance-key keys/compliance.pub"
    )


def write_spec(press: Shell, version: int, models: Sequence[tuple[str, int]]) -> str:
    """Write a spec that delivers tiny models of these seeds; return its name."""
    text = f'channel = "main"\nversion = {version}\n'
    for name, seed in models:
        path = press.desk / f"{name}-{seed}.gguf"
        if not path.exists():
            write_model(path, TinyModel(seed=seed, embedding=128))
        text += MODEL.format(name=name, seed=seed)
    (press.desk / f"spec-{version}.toml").write_text(text, encoding="utf-8")
    return f"spec-{version}.toml"


def build(
    press: Shell, version: int, models: Sequence[tuple[str, int]], more: str = ""
) -> Path:
    """Build and sign a bundle; return where it is."""
    spec = write_spec(press, version, models)
    out = f"bundle-{version}"
    press.does(f"sallyport-bundler build {spec} --root root --out {out} {SIGN} {more}")
    return press.desk / out


def put(medium: Path, shell: Shell, place: str) -> Path:
    """Put a copy of a medium at a place of the machine, instead of what is there."""
    target = shell.place(place)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if medium.is_dir():
        shutil.copytree(medium, target)
    else:
        shutil.copyfile(medium, target)
    return target


def largest(folder: Path) -> Path:
    """Return the largest file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip_one_bit(path: Path) -> None:
    """Change one bit in the middle of a file, as a worn stick would."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
