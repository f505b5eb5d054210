"""Environments of small wheels: resolved, locked, installed, refused."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from bundleformat.errors import MissingError, RefusalError
from bundleformat.fields import Fields
from bundleformat.paths import Name
from bundler.errors import SpecError
from bundler.progress import SilentMeter
from bundler.wheels.build import NEVER, cmake_arguments
from bundler.wheels.environment import lock_environment, read_wheel
from bundler.wheels.lock import (
    LockedEnvironment,
    LockedWheel,
    write_lock,
    write_requirements,
)
from bundler.wheels.resolve import check_closed, check_local, platforms
from bundler.wheels.run import without_passwords
from bundler.wheels.target import WheelsSpec, parse_wheels
from tests.support.wheel_bytes import write_wheel

TABLE = {
    "name": "team",
    "requirements": ["demo"],
    "python": "3.11",
    "platform": "linux_x86_64",
    "glibc": "2.36",
    "cpu": "x86-64-v3",
    "role": "team",
}


def spec_of(**changes: object) -> WheelsSpec:
    return parse_wheels(Fields(TABLE | changes, where="wheels[0]"), folder=Path("/f"))


def wheel(path: Path) -> LockedWheel:
    return read_wheel(path, spec=spec_of())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("requirements", []),
        ("requirements", ["demo @ https://example.org/demo.whl"]),
        ("requirements", ["not a requirement"]),
        ("python", "2.7"),
        ("platform", "win_amd64"),
        ("glibc", "newest"),
        ("cpu", "native"),
        ("role", "other"),
        ("index", "https://me:secret@example.org/simple"),
        ("index", "ftp://example.org"),
        ("source_only", ["demo"]),
        ("source_only", ["demo>=1"]),
        ("source_only", ["demo==1.*"]),
    ],
)
def test_spec_refuses_what_no_environment_can_have(key: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(**{key: value})
    assert caught.value.where.startswith(f"wheels[0].{key}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_every_instruction_set_is_stated_on_or_off(cpu: str) -> None:
    flags = dict(
        flag.removeprefix("-DGGML_").split("=")
        for flag in cmake_arguments(spec_of(cpu=cpu).cpu).split()
    )
    assert flags["NATIVE"] == "OFF"
    assert flags["SSE42"] == ("OFF" if cpu == "x86-64" else "ON")
    assert flags["AVX2"] == ("ON" if cpu in {"x86-64-v3", "x86-64-v4"} else "OFF")
    assert flags["AVX512"] == ("ON" if cpu == "x86-64-v4" else "OFF")
    assert all(flags[name] == "OFF" for name in NEVER)


def test_platforms_end_at_the_targets_glibc() -> None:
    names = platforms("2.17")
    assert names[0] == "manylinux_2_17_x86_64"
    assert "manylinux2014_x86_64" in names
    assert "manylinux2014_x86_64" not in platforms("2.16")


def test_passwords_are_taken_out_of_what_pip_says() -> None:
    said = without_passwords("at https://me:secret@example.org/simple\x1b[2J")
    assert "secret" not in said
    assert said.isprintable()


def test_a_wheel_of_an_index_cannot_replace_a_local_one() -> None:
    with pytest.raises(RefusalError) as caught:
        check_local([("demo", "b" * 64)], {"demo": "a" * 64})
    assert caught.value.where == "demo"


def test_a_requirement_that_nothing_meets_is_refused(tmp_path: Path) -> None:
    asking = wheel(write_wheel(tmp_path, "demo", requires=("other>=2",)))
    with pytest.raises(RefusalError) as caught:
        check_closed([asking.facts], spec_of())
    assert caught.value.where == "demo-1.0-py3-none-any.whl"


def test_conditions_are_weighed_for_the_target(tmp_path: Path) -> None:
    requires = ('other; python_version < "3.11"', 'more; extra == "all"')
    asking = wheel(write_wheel(tmp_path, "demo", requires=requires))
    check_closed([asking.facts], spec_of())
    with pytest.raises(RefusalError):
        check_closed([asking.facts], spec_of(requirements=["demo[all]"]))


def test_a_wheel_for_a_newer_glibc_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-cp311-cp311-manylinux_2_99_x86_64.whl"
    path.write_bytes(b"")
    with pytest.raises(RefusalError) as caught:
        wheel(path)
    assert caught.value.where == path.name


def test_find_that_is_not_there_is_missing(tmp_path: Path) -> None:
    spec = WheelsSpec(
        name=Name("team"),
        requirements=("demo",),
        python="3.11",
        glibc="2.36",
        cpu="x86-64",
        role="team",
        find=(tmp_path / "none",),
    )
    with pytest.raises(MissingError):
        lock_environment(spec, cache=tmp_path / "cache", meter=SilentMeter())


def locked(folder: Path) -> LockedEnvironment:
    """Return an environment that needs neither index nor network."""
    (folder / "dist").mkdir(parents=True)
    (folder / "index").mkdir()
    write_wheel(folder / "dist", "demo", requires=("other",))
    write_wheel(folder / "dist", "other")
    pip = write_wheel(folder / "dist", "pip", version="26.0")
    assert pip.exists()
    spec = WheelsSpec(
        name=Name("team"),
        requirements=("demo",),
        python="3.11",
        glibc="2.36",
        cpu="x86-64",
        role="team",
        find=(folder / "dist",),
        # The stand-in for pip has to be found by name, because nobody asks for it.
        index=(folder / "index").as_uri(),
    )
    return lock_environment(spec, cache=folder / "cache", meter=SilentMeter())


def test_environment_is_locked_installed_and_refused_when_one_byte_changes(
    tmp_path: Path,
) -> None:
    environment = locked(tmp_path)
    lock = Pylock.from_dict(tomllib.loads(environment.lock.decode()))
    assert [package.name for package in lock.packages] == ["demo", "other", "pip"]
    assert environment.environment.wheels == tuple(w.name for w in environment.wheels)
    target = tmp_path / "host"
    (target / "wheels").mkdir(parents=True)
    for item in environment.wheels:
        (target / "wheels" / item.filename).write_bytes(item.path.read_bytes())
    lines = target / "requirements.txt"
    lines.write_bytes(environment.requirements)
    assert install(target, into=target / "good") == 0
    assert (target / "good" / "other" / "__init__.py").exists()
    changed = target / "wheels" / "other-1.0-py3-none-any.whl"
    changed.write_bytes(changed.read_bytes().replace(b"VALUE = 1", b"VALUE = 2"))
    assert install(target, into=target / "bad") != 0
    assert not (target / "bad").exists()


def install(target: Path, *, into: Path) -> int:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index"),
            *("--find-links", str(target / "wheels"), "--require-hashes"),
            *("--only-binary", ":all:", "--no-deps", "--target", str(into)),
            *("-r", str(target / "requirements.txt")),
        ],
        capture_output=True,
        check=False,
    ).returncode


def test_same_wheels_give_the_same_bytes(tmp_path: Path) -> None:
    one = wheel(write_wheel(tmp_path, "demo"))
    other = wheel(write_wheel(tmp_path, "other"))
    assert write_lock([one, other], python="3.11") == write_lock(
        [other, one], python="3.11"
    )
    assert write_requirements([one, other]) == write_requirements([other, one])
