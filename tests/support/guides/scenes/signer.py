"""The signing room: keys of several people, and a bundle that waits for them."""

from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import hand_out, write_spec
from tests.support.guides.shell import Shell

KEYS = ("bela", "chen", "release", "release-2", "bundler", "compliance")
"""The keys that other people have made already."""


def prepare(shell: Shell) -> None:
    """Give each person a key, and the builder a spec."""
    hand_out(shell, *KEYS)
    spec = write_spec(shell, 1, [("claims-1b", 1)])
    (shell.desk / spec).rename(shell.desk / "bundle.toml")


SIGNER = Scene(prepare=prepare, deeds={})
"""The scene of ``signer.md``."""
