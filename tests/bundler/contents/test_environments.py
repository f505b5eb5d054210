"""Environments in a build: wheels once each, locks, the installer, and the bill."""

import json
from pathlib import Path

import pytest

from bundleformat.artifact import Artifact, Environment, Role
from bundleformat.errors import ConflictError, DigestMismatchError, StorageFaultError
from bundleformat.layout import chunk_path
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.paths import parse_name
from bundler.contents.chunks import ChunkFolder
from bundler.contents.collect import Sources, collect
from bundler.contents.environments import NamedEnvironment
from bundler.contents.spec import BundleSpec
from bundler.installer import installer_bytes
from bundler.pack import check_room
from bundler.progress import SilentMeter
from bundler.wheels.environment import read_wheel
from bundler.wheels.lock import LockedEnvironment
from bundler.wheels.target import WheelsSpec
from tests.support.publish_wheels import tiny_wheel
from tests.support.publisher import NOW


def environment(name: str, *wheels: Path, role: Role = "team") -> NamedEnvironment:
    spec = WheelsSpec(
        name=parse_name(name),
        requirements=("x",),
        python="3.11",
        glibc="2.34",
        cpu="x86-64-v3",
        role=role,
    )
    locked = tuple(read_wheel(path, spec=spec) for path in wheels)
    return NamedEnvironment(
        name=spec.name,
        locked=LockedEnvironment(
            wheels=locked,
            lock=f"# {name}\n".encode(),
            requirements=b"# none\n",
            environment=Environment(
                python="3.11",
                platform="linux_x86_64",
                glibc="2.34",
                cpu="x86-64-v3",
                role=role,
                wheels=tuple(sorted(wheel.name for wheel in locked)),
            ),
        ),
    )


def stored(folder: Path, *environments: NamedEnvironment) -> dict[str, Artifact]:
    out = folder / "out"
    out.mkdir()
    artifacts = collect(
        BundleSpec(channel=parse_name("main"), version=1, models=(), policies=()),
        Sources(models=(), environments=environments),
        ChunkFolder(folder=out, chunk_bytes=2**20, digest="sha384"),
        created=NOW,
        limits=DEFAULT_LIMITS,
        meter=SilentMeter(),
    )
    return {artifact.path: artifact for artifact in artifacts}


def test_two_wheels_of_one_name_must_be_one_wheel(tmp_path: Path) -> None:
    one = tiny_wheel(tmp_path / "a", "x")
    other = tiny_wheel(tmp_path / "b", "x", contents={"x.py": b"print()"})
    with pytest.raises(ConflictError) as caught:
        stored(tmp_path, environment("a", one), environment("b", other))
    assert caught.value.where == one.name


def test_a_wheel_that_changes_after_it_was_locked_is_refused(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "x")
    locked = environment("a", wheel)
    tiny_wheel(tmp_path, "x", contents={"x.py": b"print()"})
    with pytest.raises(DigestMismatchError) as caught:
        stored(tmp_path, locked)
    assert caught.value.where == str(wheel)


def test_wheels_are_stored_once_with_a_lock_for_each_environment(
    tmp_path: Path,
) -> None:
    x = tiny_wheel(tmp_path, "Xylo_phone")
    y = tiny_wheel(tmp_path, "y")
    found = stored(tmp_path, environment("a", x, y), environment("b", x))
    assert list(found) == [
        "locks/a.requirements.txt",
        "locks/b.requirements.txt",
        "locks/pylock.a.toml",
        "locks/pylock.b.toml",
        "sbom/bundle.cdx.json",
        f"wheels/{x.name}",
        f"wheels/{y.name}",
    ]
    lock = found["locks/pylock.a.toml"].environment
    assert lock is not None
    assert found[f"wheels/{x.name}"].name in lock.wheels
    sizes = found[f"wheels/{x.name}"].wheel
    assert sizes is not None
    assert sizes.files == 4
    assert sizes.python_bytes == len(b"NAME = 'Xylo_phone'\n")
    assert all(len(artifact.sha384 or "") == 96 for artifact in found.values())


def test_the_bill_names_the_wheels(tmp_path: Path) -> None:
    found = stored(tmp_path, environment("a", tiny_wheel(tmp_path, "x")))
    chunk = found["sbom/bundle.cdx.json"].chunks[0]
    bill = json.loads((tmp_path / "out" / chunk_path(chunk.sha256)).read_bytes())
    assert any(
        each.get("purl", "").startswith("pkg:pypi/x") for each in bill["components"]
    )


def test_the_installer_travels_with_an_appliance(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "x")
    found = stored(tmp_path, environment("a", wheel, role="appliance"))
    installer = found["installer/install.py"]
    assert (installer.kind, installer.size_bytes) == (
        "installer",
        len(installer_bytes()),
    )


def test_room_is_looked_for_before_anything_is_tried(tmp_path: Path) -> None:
    with pytest.raises(StorageFaultError):
        check_room(tmp_path / "none" / "bundle", 2**60)
    check_room(tmp_path / "none" / "bundle", 1)
    assert list(tmp_path.iterdir()) == []
