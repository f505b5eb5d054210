"""The operator's desk: a new host, sticks, discs and an expired bundle."""

import hashlib
import json
import shutil

from bundleformat.trust import grouped
from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import (
    build,
    flip_one_bit,
    largest,
    new_publisher,
    put,
)
from tests.support.guides.shell import Shell

OLD = 30
"""Days since the bundles were made."""


def prepare(shell: Shell) -> None:
    """Put what the operator was given where the guide finds it."""
    press = new_publisher(shell, days=OLD)
    press.does(
        "sallyport-bundler site issue --key keys/compliance.key --site blr-07"
        " --region in-blr --jurisdiction IN --out site.json"
    )
    first = build(press, 1, [("claims-1b", 1)])
    second = build(press, 2, [("claims-1b", 2)], "--volume-size 1MiB")
    build(press, 3, [("claims-1b", 2), ("notes-1b", 3)], "--expires 7d")
    press.does("sallyport-bundler join bundle-3 --root root --out main-3.mbundle")
    fourth = build(press, 4, [("claims-1b", 4)])
    put(first, shell, "/media/stick/bundle")
    put(press.desk / "site.json", shell, "/media/stick/site.json")
    put(press.desk / "main-3.mbundle", shell, "/media/stick/main-3.mbundle")
    for number, volume in enumerate(sorted(second.iterdir()), start=1):
        put(volume, shell, f"/media/case/disc-{number}")
    flip_one_bit(largest(put(fourth, shell, "/media/worn") / "c"))
    put(shell.place("/media/case/disc-2"), shell, "/media/disc")
    root = (first / "metadata" / "1.root.json").read_bytes()
    shell.known["--fingerprint"] = grouped(hashlib.sha256(root).hexdigest())
    shell.home.parent.mkdir(parents=True)


def empty_drive(shell: Shell) -> None:
    """Take the disc out of the drive."""
    shutil.rmtree(shell.place("/media/disc"))


def note_key(shell: Shell) -> None:
    """Write the ledger's key on paper."""
    shell.known["--key"] = shell.does("sallyport audit key").strip()


def decay(shell: Shell) -> None:
    """Let a bit of the model that is served flip."""
    listed = json.loads(shell.does("sallyport model list --json"))
    served = next(each for each in listed["models"] if each["name"] == "claims-1b")
    flip_one_bit(shell.home / "store" / "sha256" / served["sha256"])


OPERATOR = Scene(
    prepare=prepare,
    deeds={
        "the-disc-is-taken-out": empty_drive,
        "a-bit-decays": decay,
        "the-auditor-notes-the-key": note_key,
    },
)
"""The scene of ``operator.md``."""
