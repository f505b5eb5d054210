"""The script that sets up a bare host: what it refuses, and what it leaves then."""

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.installer import install as script
from bundler.installer import installer_bytes
from tests.support.install_medium import Medium
from tests.support.publish_wheels import (
    environment_of,
    quick_pip,
    sallyport_stub,
    tiny_wheel,
)


def test_the_installer_is_one_readable_file() -> None:
    assert installer_bytes().count(b"\n") < 400


def test_another_digest_than_the_manifests_is_refused(
    medium: Medium, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = f"{int(medium.digest[0], 16) ^ 1:x}{medium.digest[1:]}"
    assert medium.here(digest=wrong) == 3
    assert not medium.prefix.exists()
    # The true digest is not told, or somebody would type that one in.
    assert medium.digest not in "".join(capfd.readouterr())


@pytest.mark.parametrize("typed", ["", "12", "g" * 64, "a" * 65])
def test_what_is_no_digest_is_a_mistake(medium: Medium, typed: str) -> None:
    assert medium.here(digest=typed) == 2
    assert not medium.prefix.exists()


def test_a_changed_manifest_is_refused(medium: Medium) -> None:
    path = medium.medium / "targets/manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    assert medium.here() == 3
    assert not medium.prefix.exists()


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"format":1,"format":1,"digest":"sha256","artifacts":[]}',
        b'{"format":2,"digest":"sha256","artifacts":[]}',
        b'{"format":1,"digest":"sha384","artifacts":[]}',
        b'{"format":1,"digest":"sha256","artifacts":[{}]}',
        b'{"format":1,"digest":"sha256","artifacts":[]}',
        b"[" * 100_000,
    ],
)
def test_a_manifest_that_is_none_is_refused(medium: Medium, manifest: bytes) -> None:
    (medium.medium / "targets/manifest.json").write_bytes(manifest)
    assert medium.here(digest=hashlib.sha256(manifest).hexdigest()) == 3
    assert not medium.prefix.exists()


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("python", "3.14"),
        ("platform", "linux_aarch64"),
        ("glibc", "2.16"),
        ("glibc", "none"),
        ("cpu", "none"),
    ],
)
def test_a_machine_that_nothing_fits_is_refused(
    medium: Medium, capfd: pytest.CaptureFixture[str], fact: str, value: str
) -> None:
    assert medium.here(**{fact: value}) == 3
    assert not medium.prefix.exists()
    assert fact in capfd.readouterr().err


def test_a_bundle_for_teams_alone_is_refused(
    make: Callable[..., Medium], wheels: tuple[Path, ...]
) -> None:
    medium = make(*environment_of("tools", wheels, role="team"))
    assert medium.here() == 3
    assert not medium.prefix.exists()


def test_a_changed_byte_of_a_wheel_is_refused(medium: Medium) -> None:
    data = bytearray(medium.chunk().read_bytes())
    data[len(data) // 2] ^= 1
    medium.chunk().write_bytes(data)
    assert medium.here() == 3
    assert medium.left() == []


@pytest.mark.parametrize("change", [b"x", b""])
def test_a_longer_or_shorter_chunk_is_refused(medium: Medium, change: bytes) -> None:
    data = medium.chunk().read_bytes()
    medium.chunk().write_bytes(data + change if change else data[:-1])
    assert medium.here() == 3
    assert medium.left() == []


def test_a_missing_chunk_asks_for_another_volume(medium: Medium) -> None:
    medium.chunk().unlink()
    assert medium.here() == 5
    assert medium.left() == []


def test_a_link_in_the_place_of_a_chunk_is_refused(medium: Medium) -> None:
    elsewhere = medium.home.parent / "elsewhere"
    medium.chunk().rename(elsewhere)
    medium.chunk().symlink_to(elsewhere)
    assert medium.here() == 3
    assert medium.left() == []


def test_a_fifo_in_the_place_of_a_chunk_is_refused(medium: Medium) -> None:
    chunk = medium.chunk()
    chunk.unlink()
    os.mkfifo(chunk)
    assert medium.here() == 3
    assert medium.left() == []


@pytest.mark.parametrize("path", ["wheels/../../evil.whl", "wheels/.whl", "x.tar.gz"])
def test_a_wheel_of_another_name_is_refused(medium: Medium, path: str) -> None:
    medium.change(path=path)
    assert medium.here() == 3
    assert not medium.prefix.exists()


def test_an_artifact_that_its_chunks_do_not_make_is_refused(medium: Medium) -> None:
    medium.change(sha256="0" * 64)
    assert medium.here() == 3
    assert medium.left() == []


def test_pip_refuses_a_digest_that_is_not_the_copys(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    quick_pip(scratch)
    sallyport_stub(scratch)
    digests = {wheel.name: "0" * 64 for wheel in scratch.iterdir()}
    with pytest.raises(script.InstallError, match="pip install") as caught:
        script.build_environment(tmp_path / "made", scratch, digests)
    assert caught.value.status == 3


@pytest.mark.parametrize(
    "member",
    [
        "evil.pth",
        "bad-1.0.data/purelib/EVIL.PTH",
        "sitecustomize.py",
        "bad-1.0.data/platlib/usercustomize/__init__.py",
        "../evil",
        "a/../../evil",
        "/etc/x",
        "a\\b",
    ],
)
def test_a_wheel_with_a_file_out_of_place_is_refused(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path, member: str
) -> None:
    bad = tiny_wheel(tmp_path / "bad", "bad", contents={member: b"import os\n"})
    medium = make(*environment_of("host", (*wheels, bad), role="appliance"))
    assert medium.here() == 3
    assert medium.left() == []


def test_a_wheel_that_is_no_zip_is_refused(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path
) -> None:
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip at all")
    medium = make(*environment_of("host", (*wheels, bad), role="appliance"))
    assert medium.here() == 3
    assert medium.left() == []


@pytest.mark.parametrize("tag", ["cp39-cp39-win_amd64", "py2-none-any"])
def test_a_wheel_for_another_python_is_refused(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path, tag: str
) -> None:
    other = tiny_wheel(tmp_path / "other", "other", tag=tag)
    medium = make(*environment_of("host", (*wheels, other), role="appliance"))
    assert medium.here() == 3
    assert medium.left() == ["versions"]


def test_nothing_is_ever_built(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path
) -> None:
    # A source archive that calls itself a wheel would have to be built.
    proof = tmp_path / "built"
    source = tiny_wheel(
        tmp_path / "source",
        "other",
        contents={"setup.py": f"open({str(proof)!r}, 'w')\n".encode()},
        tag="src",
    )
    medium = make(*environment_of("host", (*wheels, source), role="appliance"))
    assert medium.here() == 3
    assert medium.left() == ["versions"]
    assert not proof.exists()


def test_a_missing_requirement_is_refused(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path
) -> None:
    needy = tiny_wheel(tmp_path / "needy", "needy", requires=["absent>=2"])
    medium = make(*environment_of("host", (*wheels, needy), role="appliance"))
    assert medium.here() == 3
    assert medium.left() == ["versions"]


def test_an_environment_without_the_command_is_refused(
    make: Callable[..., Medium], tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    wheels = (quick_pip(folder), tiny_wheel(folder, "helper"))
    medium = make(*environment_of("host", wheels, role="appliance"))
    assert medium.here() == 3
    assert medium.left() == ["versions"]


def test_an_environment_without_pip_is_refused(
    make: Callable[..., Medium], tmp_path: Path
) -> None:
    wheels = (sallyport_stub(tmp_path / "wheels"),)
    medium = make(*environment_of("host", wheels, role="appliance"))
    assert medium.here() == 3
    assert not medium.prefix.exists()


def test_a_module_planted_beside_the_script_is_not_run(medium: Medium) -> None:
    proof = medium.home.parent / "ran"
    for name in ("json", "hashlib", "argparse", "venv", "sitecustomize"):
        evil = medium.medium / f"{name}.py"
        evil.write_text(f"open({str(proof)!r}, 'w')\nraise SystemExit(99)\n")
    medium.chunk().unlink()
    assert medium.run().returncode == 5
    assert not proof.exists()


def test_a_full_disk_is_a_fault_and_leaves_nothing(
    medium: Medium, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    medium.prefix = tmp_path / "file" / "prefix"
    assert medium.here() == 4


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_installation_left_never_counts(
    medium: Medium, end: signal.Signals
) -> None:
    command = medium.command("--manifest-digest", medium.digest)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        # It is killed as soon as there is a Python in the new environment.
        deadline = time.monotonic() + 60
        while not list(medium.prefix.glob("versions/*/bin/python")):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(end)
    assert not (medium.prefix / "current").exists()
    assert not (medium.prefix / "bin").exists()
    if end == signal.SIGTERM:
        assert running.returncode == 130
        assert medium.left() == ["versions"]
    assert medium.run().returncode == 0
    assert [name for name in medium.left() if "installing" in name] == []
    assert medium.says() == "a stub of sallyport\n"
