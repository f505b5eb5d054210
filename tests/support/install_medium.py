"""A medium with install.py on it, and the bare host that it is run for."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, encode_manifest
from bundler.installer import install as script
from bundler.installer import installer_bytes
from tests.support.publisher import Published

MACHINE = {
    "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    "platform": "linux_x86_64",
    "glibc": "2.36",
    "cpu": "x86-64-v3",
}


class Medium:
    """A medium with a bundle, and the host it is installed on."""

    def __init__(self, folder: Path, bundle: Published) -> None:
        self.bundle = bundle
        self.medium = bundle.folder
        self.prefix = folder / "prefix"
        self.home = folder / "home"
        self.script = self.medium / "install.py"
        self.script.write_bytes(installer_bytes())
        manifest = (self.medium / "targets/manifest.json").read_bytes()
        self.digest = hashlib.sha256(manifest).hexdigest()

    def here(self, *more: str, digest: str | None = None, **machine: str) -> int:
        """Run the installer in this process, for a machine of any kind."""
        return script.main(
            [
                *("--medium", str(self.medium), "--manifest-digest"),
                *(self.digest if digest is None else digest,),
                *("--prefix", str(self.prefix), "--home", str(self.home), *more),
            ],
            machine={**MACHINE, **machine},
        )

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, str(self.script), "--prefix", str(self.prefix)),
            *("--home", str(self.home), *more),
        ]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the installer as a person does, from the medium."""
        return subprocess.run(
            self.command(*more, "--manifest-digest", self.digest),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def left(self) -> list[str]:
        """Return what lies below the prefix."""
        return sorted(
            str(path.relative_to(self.prefix))
            for pattern in ("*", "bin/*", "versions/*")
            for path in self.prefix.glob(pattern)
        )

    def wheel(self, start: str = "sallyport") -> Artifact:
        return next(
            each
            for each in self.bundle.manifest.artifacts
            if each.kind == "wheel" and each.name.startswith(start)
        )

    def chunk(self, start: str = "sallyport") -> Path:
        return self.medium / chunk_path(self.wheel(start).chunks[0].sha256)

    def change(self, **values: object) -> None:
        """Have the publisher sign a manifest whose Sallyport wheel says this."""
        artifacts = tuple(
            replace(each, **values) if each == self.wheel() else each  # type: ignore[arg-type]
            for each in self.bundle.manifest.artifacts
        )
        manifest = replace(self.bundle.manifest, artifacts=artifacts)
        data = encode_manifest(manifest)
        (self.medium / "targets/manifest.json").write_bytes(data)
        self.digest = hashlib.sha256(data).hexdigest()

    def says(self) -> str:
        """Return what the installed command prints."""
        return subprocess.run(
            [str(self.prefix / "bin" / "sallyport")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
