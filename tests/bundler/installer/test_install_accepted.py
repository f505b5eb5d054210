"""The script that sets up a bare host: what it does when nothing is against it."""

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

from bundler.installer import install as script
from tests.support.install_medium import MACHINE, Medium
from tests.support.publish_wheels import (
    Delivery,
    environment_of,
    pip_wheel,
    publish_artifacts,
    quick_pip,
    sallyport_stub,
    tiny_wheel,
)


def test_the_best_environment_that_fits_is_installed(
    make: Callable[..., Medium], wheels: tuple[Path, ...], tmp_path: Path
) -> None:
    kinds = {"x86-64": "plain", "x86-64-v3": "fast", "x86-64-v4": "faster"}
    deliveries: list[Delivery] = []
    for cpu, name in kinds.items():
        marker = tiny_wheel(tmp_path / name, name)
        chosen = (*wheels, marker)
        deliveries += environment_of(name, chosen, cpu=cpu, role="appliance")
    medium = make(*deliveries)
    assert medium.here() == 0
    found = list(medium.prefix.glob("current/lib/*/site-packages/*.py"))
    assert "fast.py" in {path.name for path in found}
    assert not {"plain.py", "faster.py"} & {path.name for path in found}


def test_a_host_is_set_up_from_the_medium(
    make: Callable[..., Medium], wheels: tuple[Path, ...]
) -> None:
    chosen = (pip_wheel(), *wheels[1:])
    medium = make(*environment_of("host", chosen, role="appliance"))
    done = medium.run()
    assert done.returncode == 0, done.stderr
    assert "trust init" in done.stdout
    assert str(medium.medium / "metadata" / "1.root.json") in done.stdout
    assert medium.says() == "a stub of sallyport\n"
    versions = [name for name in medium.left() if name.startswith("versions/")]
    assert medium.left() == ["bin", "bin/sallyport", "current", "versions", *versions]
    assert len(versions) == 1

    # Running it again changes nothing, and reads no wheel.
    before = (medium.prefix / versions[0]).stat().st_mtime_ns
    medium.chunk().unlink()
    assert medium.here() == 0
    assert (medium.prefix / versions[0]).stat().st_mtime_ns == before


def test_the_digest_may_be_grouped_and_typed_at_a_terminal(medium: Medium) -> None:
    grouped = " ".join(
        medium.digest.upper()[start : start + 4] for start in range(0, 64, 4)
    )
    # The second volume is asked for as well.
    second = medium.home.parent / "second"
    place = second / medium.chunk().relative_to(medium.medium)
    place.parent.mkdir(parents=True)
    medium.chunk().rename(place)
    here, there = pty.openpty()
    try:
        os.write(here, f"{grouped}\n{second}\n".encode())
        done = subprocess.run(
            medium.command(), stdin=there, capture_output=True, text=True, check=False
        )
    finally:
        os.close(here)
        os.close(there)
    assert done.returncode == 0, done.stderr
    assert medium.says() == "a stub of sallyport\n"


def test_several_volumes_can_be_named(medium: Medium) -> None:
    second = medium.home.parent / "second"
    place = second / medium.chunk().relative_to(medium.medium)
    place.parent.mkdir(parents=True)
    medium.chunk().rename(place)
    assert medium.here("--medium", str(second)) == 0


def test_a_newer_one_takes_over_in_one_step_and_the_older_stays(
    medium: Medium, tmp_path: Path
) -> None:
    assert medium.here() == 0
    before = (medium.prefix / "current").readlink()
    wheels = (quick_pip(tmp_path / "wheels"), sallyport_stub(tmp_path / "wheels"))
    newer = publish_artifacts(
        tmp_path / "newer", environment_of("host", wheels, role="appliance"), version=2
    )
    second = Medium(tmp_path, newer)
    assert second.here() == 0
    assert (medium.prefix / "current").readlink() != before
    assert len(list(medium.prefix.glob("versions/*"))) == 2


def test_with_a_fingerprint_it_goes_on_to_trust_and_import(
    make: Callable[..., Medium], tmp_path: Path
) -> None:
    stub = tiny_wheel(
        tmp_path / "wheels",
        "sallyport",
        contents={
            "stub.py": b"import json, sys\n"
            b"def main():\n"
            b"    with open(sys.argv[2] + '.log', 'a') as log:\n"
            b"        log.write(json.dumps(sys.argv[3:]) + '\\n')\n"
            b"    return 3 if 'import' in sys.argv else 0\n"
        },
        scripts={"sallyport": "stub:main"},
    )
    wheels = (quick_pip(tmp_path / "wheels"), stub)
    medium = make(*environment_of("host", wheels, role="appliance"))
    assert medium.here("--fingerprint", "aa bb") == 3
    log = Path(f"{medium.home}.log").read_text().splitlines()
    root = str(medium.medium / "metadata" / "1.root.json")
    assert [json.loads(line) for line in log] == [
        ["trust", "init", "--root", root, "--fingerprint", "aa bb"],
        ["bundle", "import", str(medium.medium)],
    ]


def test_this_machine_is_described() -> None:
    facts = script.this_machine()
    assert facts["python"] == MACHINE["python"]
    assert facts["platform"].startswith("linux_")
    assert facts["cpu"] in {"none", *script.CPU_FLAGS}
