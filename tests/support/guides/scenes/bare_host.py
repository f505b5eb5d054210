"""A host with nothing but Python, and a medium that carries Sallyport."""

import tempfile
from pathlib import Path

from bundleformat.digest import sha256_of
from bundleformat.layout import chunk_path
from bundleformat.trust import grouped
from bundler.installer import installer_bytes
from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import flip_one_bit, put
from tests.support.guides.shell import Shell
from tests.support.publish_wheels import (
    environment_of,
    publish_artifacts,
    quick_pip,
    sallyport_stub,
)


def prepare(shell: Shell) -> None:
    """Put a medium with stubs of two wheels in, and a worn copy of it."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = (quick_pip(Path(folder)), sallyport_stub(Path(folder)))
        deliveries = environment_of("host", wheels, role="appliance")
        bundle = publish_artifacts(shell.place("/media/stick"), deliveries)
    medium = bundle.folder
    (medium / "install.py").write_bytes(installer_bytes())
    manifest = (medium / "targets" / "manifest.json").read_bytes()
    shell.known["--manifest-digest"] = grouped(sha256_of(manifest))
    worn = put(medium, shell, "/media/worn")
    wheel = next(each for each in bundle.manifest.artifacts if each.kind == "wheel")
    flip_one_bit(worn / chunk_path(wheel.chunks[0].sha256))


BARE_HOST = Scene(prepare=prepare, deeds={})
"""The scene of ``bare-host.md``."""
