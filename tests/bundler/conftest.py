import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.cli import main
from bundler.cli.runtime import Runtime
from bundler.signing.keys import create_key
from bundler.signing.passphrase import Passphrases
from tests.support.gguf_writer import write_model
from tests.support.publisher import NOW

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - opens test keys only

SPEC = """\
channel = "main"
version = 1

[[models]]
name = "tiny"
path = "tiny.gguf"
licence = "Apache-2.0"
origin = "written by a test"
allowed_regions = ["in-bom", "in-blr"]

[[policies]]
name = "site"
path = "site.cedar"
"""


@dataclass
class Desk:
    """A folder on the connected machine, with a way to run commands in it."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    runtime: Runtime

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its status, stdout and stderr."""
        self.capture.readouterr()
        status = main(arguments, runtime=self.runtime)
        out, err = self.capture.readouterr()
        return status, out, err

    def does(self, *arguments: str) -> dict[str, Any]:
        """Run a command that works, with --json; return its value."""
        status, out, err = self.run(*arguments, "--json")
        assert (status, err) == (0, "")
        value = json.loads(out)
        assert isinstance(value, dict)
        return value

    def refuses(self, *arguments: str, code: str, status: int = 3) -> dict[str, Any]:
        """Run a command that is refused; check that it leaves no trace."""
        before = self.files()
        found, out, err = self.run(*arguments, "--json")
        error = json.loads(err)["error"]
        assert isinstance(error, dict)
        assert (found, out, error["code"]) == (status, "", code)
        assert self.files() == before
        return error

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    """An empty desk with a passphrase file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pw").touch(mode=0o600)
    (tmp_path / "pw").write_text(f"{PASSPHRASE}\n")
    return Desk(tmp_path, capsys, Runtime(now=NOW, ask=None))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four keys; made once, since stretching keys is slow."""
    folder = tmp_path_factory.mktemp("drawer")
    passphrases = Passphrases(file=None, ask=lambda _: PASSPHRASE)
    for name in ("root", "release", "bundler", "compliance"):
        create_key(folder / name, passphrases)
    return folder


@pytest.fixture
def with_root(desk: Desk, drawer: Path) -> Desk:
    """A desk with the four keys and a root."""
    shutil.copytree(drawer, desk.folder, dirs_exist_ok=True)
    desk.does(
        *("root", "init", "--channel", "main", "--root-key", "root.key"),
        *("--release-key", "release.pub", "--bundler-key", "bundler.pub"),
        *("--compliance-key", "compliance.pub"),
        *("--out", "root", "--passphrase-file", "pw"),
    )
    return desk


@pytest.fixture
def ready(with_root: Desk, tiny_model: Path) -> Desk:
    """A desk with keys, a root, a model, a policy and a spec."""
    with_root.folder.joinpath("tiny.gguf").write_bytes(tiny_model.read_bytes())
    with_root.folder.joinpath("site.cedar").write_text(
        "permit (principal, action, resource);\n"
    )
    with_root.folder.joinpath("spec.toml").write_text(SPEC)
    return with_root


@pytest.fixture
def build_arguments() -> Callable[..., tuple[str, ...]]:
    """Return the arguments of a build that works, with some replaced."""

    def arguments(**changed: str) -> tuple[str, ...]:
        options = {
            "root": "root",
            "release-key": "release.key",
            "bundler-key": "bundler.key",
            "passphrase-file": "pw",
            "out": "bundle",
        } | {name.replace("_", "-"): value for name, value in changed.items()}
        spec = options.pop("spec", "spec.toml")
        pairs = ((f"--{name}", value) for name, value in options.items() if value)
        return ("build", spec, *(part for pair in pairs for part in pair))

    return arguments


@pytest.fixture
def built(ready: Desk, build_arguments: Callable[..., tuple[str, ...]]) -> Desk:
    """A desk with a bundle."""
    ready.does(*build_arguments(chunk_size="64KiB"))
    return ready
