"""A host with Python 3.11 and nothing else is set up from an image, and serves.

A minimal Debian is made once by debootstrap, in ``SALLYPORT_TEST_ROOT`` or a folder
for temporary files. The wheels are those that the bundler locks for this tree, with
llama-cpp-python compiled once and kept; ``SALLYPORT_TEST_APPLIANCE`` names a folder
of others, pip among them. Without debootstrap, or without the right to make
namespaces, the test is skipped and says why.
"""

import datetime as dt
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SystemClock
from bundleformat.digest import sha256_of
from bundleformat.gguf import read_facts
from bundleformat.paths import Name
from bundleformat.site_certificate import SiteCertificate, issue
from bundleformat.trust import grouped
from bundler.demo.story import ANSWER, QUESTION
from bundler.installer import INSTALLER_NAME, installer_bytes
from bundler.progress import SilentMeter
from bundler.wheels.environment import lock_environment
from bundler.wheels.target import WheelsSpec
from tests.support.publish_wheels import (
    Delivery,
    environment_of,
    publish_artifacts,
    tiny_wheel,
)
from tests.support.publisher import TERMS, Published, make_root, new_keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

HERE = Path(__file__).parent
PROGRAMS = ("debootstrap", "unshare", "xorriso")
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork")


@pytest.fixture(scope="module")
def clean_root() -> Path:
    """The root file system of a minimal Debian with Python, made once and kept."""
    if os.geteuid() != 0:
        pytest.skip("only root may change the root file system")
    for program in PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run([*NAMESPACES, "true"], check=False).returncode:
        pytest.skip("this machine does not let namespaces be made")
    default = Path(tempfile.gettempdir()) / "sallyport-clean-root"
    root = Path(os.environ.get("SALLYPORT_TEST_ROOT", default))
    if not (root / "usr/bin/python3.11").exists():
        partial = root.with_name(f"{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        made = subprocess.run(
            [
                *("debootstrap", "--variant=minbase", "--include=python3"),
                *("bookworm", str(partial)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"debootstrap made no root: {made.stdout[-300:]}")
        partial.rename(root)
    return root


@pytest.fixture(scope="module")
def wheels(clean_root: Path, repository: Path) -> tuple[Path, ...]:
    """The wheels of Sallyport and of everything it needs.

    ``clean_root`` comes first: where the test is skipped, nothing is compiled.
    """
    assert clean_root.is_dir()
    folder = os.environ.get("SALLYPORT_TEST_APPLIANCE", "")
    if folder:
        return tuple(sorted(Path(folder).glob("*.whl")))
    spec = WheelsSpec(
        name=Name("appliance"),
        requirements=("sallyport[appliance]",),
        python="3.11",
        glibc="2.36",
        cpu="x86-64-v3",
        role="appliance",
        find=(repository,),
        source_only=("llama-cpp-python==0.3.36",),
    )
    default = Path("~/.cache/sallyport-tests/wheels").expanduser()
    cache = Path(os.environ.get("SALLYPORT_TEST_WHEELS", default))
    locked = lock_environment(spec, cache=cache, meter=SilentMeter())
    return tuple(wheel.path for wheel in locked.wheels)


def publish(folder: Path, wheels: tuple[Path, ...], model: Path) -> Published:
    """Publish what a first bundle carries: Sallyport, a team's tools, one model."""
    now = SystemClock().now().replace(microsecond=0)
    pips = tuple(wheel for wheel in wheels if wheel.name.startswith("pip-"))
    helper = tiny_wheel(folder / "wheels", "helper")
    with model.open("rb") as file:
        facts = read_facts(file, size_bytes=model.stat().st_size)
    terms = replace(
        TERMS, architecture=facts.architecture, context_length=facts.context_length
    )
    keys = new_keys()
    return publish_artifacts(
        folder / "bundle",
        [
            *environment_of("appliance", wheels, role="appliance", glibc="2.34"),
            *environment_of("tools", (*pips, helper)),
            Delivery(
                kind="model",
                name="demo",
                path="models/demo.gguf",
                data=model.read_bytes(),
                model=terms,
            ),
            Delivery(
                kind="installer",
                name=INSTALLER_NAME,
                path=f"installer/{INSTALLER_NAME}",
                data=installer_bytes(),
            ),
        ],
        keys=keys,
        roots=[make_root(keys, expires=now + dt.timedelta(days=30))],
        created=now,
        expires=now + dt.timedelta(days=30),
    )


def sheet_of(bundle: Published) -> dict[str, str]:
    """Return what a person carries apart from the medium."""
    now = SystemClock().now().replace(microsecond=0)
    certificate = SiteCertificate(
        site="blr-07",
        region=TERMS.allowed_regions[0],
        jurisdictions=("IN",),
        not_before=now - dt.timedelta(days=1),
        not_after=now + dt.timedelta(days=30),
    )
    manifest = (bundle.folder / "targets/manifest.json").read_bytes()
    return {
        "installer": grouped(sha256_of(installer_bytes())),
        "manifest": grouped(sha256_of(manifest)),
        "root": grouped(bundle.fingerprint),
        "site": issue(certificate, bundle.keys.compliance).decode(),
        "question": QUESTION,
    }


def image_of(bundle: Published, image: Path) -> Path:
    """Write the volume as an ISO image, the installer at its top."""
    (bundle.folder / INSTALLER_NAME).write_bytes(installer_bytes())
    subprocess.run(
        [
            *("xorriso", "-as", "mkisofs", "-quiet", "-iso-level", "3", "-R"),
            *("-V", "SALLYPORT", "-o", str(image), str(bundle.folder)),
        ],
        check=True,
        capture_output=True,
    )
    return image


def test_a_bare_host_is_set_up_from_an_image_and_answers(
    clean_root: Path, wheels: tuple[Path, ...], demo_model: Path, tmp_path: Path
) -> None:
    bundle = publish(tmp_path, wheels, demo_model)
    image = image_of(bundle, tmp_path / "volume.iso")
    script = tmp_path / "script.py"
    asked = json.dumps(json.dumps(sheet_of(bundle)))
    text = (HERE / "clean_host_script.py").read_text()
    script.write_text(text.replace('"""SHEET"""', asked))
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [
            *NAMESPACES,
            *(str(HERE / "clean_host.sh"), str(clean_root), str(work)),
            *(str(image), str(script)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])

    # It was bare, and cut off.
    assert found["interfaces"] == ["lo"]
    assert not found["reached"]
    assert not found["pip"]

    # It serves, under its ledger, what the bundle brought.
    (choice,) = found["answer"]["choices"]
    assert choice["message"]["content"] == ANSWER
    assert found["served"] == 0
    assert found["tool"] == "helper\n"

    # Nothing of the installation is left beside what was installed.
    assert found["left"] == ["bin", "current", "versions"]
    assert not found["pip_afterwards"]
