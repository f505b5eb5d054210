"""What ``bundle import`` tells about what is withdrawn and about a newer root."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.cli import main
from tests.support.publish_wheels import environment_of, publish_artifacts, quick_pip
from tests.support.publisher import Published, next_root, publish_bundle, republish
from tests.support.real_host import RealHost, commission

POLICY = b"""
@id("site-%s")
@reason("a rule of this site")
forbid (principal, action, resource)
when { context.data_classes.contains("phi") };
"""


@pytest.fixture
def host(tmp_path: Path) -> RealHost:
    return commission(
        tmp_path, models=[], policies=[("first", POLICY % b"a"), ("old", POLICY % b"b")]
    )


def publish(
    host: RealHost, folder: Path, policies: Sequence[tuple[str, bytes]]
) -> Published:
    """Publish the next version on the host's channel."""
    return publish_bundle(
        folder,
        policies=policies,
        version=2,
        keys=host.bundle.keys,
        roots=host.bundle.roots,
        created=host.bundle.manifest.created,
        expires=host.bundle.manifest.created + dt.timedelta(days=30),
    )


def lines(host: RealHost, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Run a command that succeeds and return what it printed."""
    capsys.readouterr()
    status = main(["--home", str(host.home), *words])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out.splitlines()


def test_what_a_bundle_withdraws_is_said_before_and_after(
    host: RealHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = publish(host, tmp_path / "newer", [("first", POLICY % b"a")])
    command = ("bundle", "import", str(newer.folder))
    value = json.loads("\n".join(lines(host, capsys, *command, "--dry-run", "--json")))
    assert value["withdrawn"] == [{"kind": "policy", "name": "old"}]
    planned = lines(host, capsys, *command, "--dry-run")
    assert planned[-1] == "would withdraw: policy old"
    assert "withdrawn: policy old" in lines(host, capsys, *command)
    again = lines(host, capsys, *command)
    assert again == ["bundle 2 of channel main is already active; nothing to do"]


def test_an_installed_environment_is_said_with_the_command_that_finds_it(
    host: RealHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = environment_of("tools", (quick_pip(tmp_path / "wheels"),))
    bundle = publish_artifacts(
        tmp_path / "newer",
        tools,
        version=2,
        keys=host.bundle.keys,
        roots=host.bundle.roots,
        created=host.bundle.manifest.created,
        expires=host.bundle.manifest.created + dt.timedelta(days=30),
    )
    told = lines(host, capsys, "bundle", "import", str(bundle.folder))
    (line,) = (each for each in told if each.startswith("environment tools"))
    command = line.partition("sallyport ")[2].split()
    (folder,) = lines(host, capsys, *command)
    assert (Path(folder) / "bin" / "python").exists()


def test_a_dry_run_refuses_a_policy_that_does_not_compile(
    host: RealHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = publish(host, tmp_path / "newer", [("first", b"forbid everything\n")])
    before = len(host.records())
    command = ["--home", str(host.home), "bundle", "import", str(newer.folder)]
    assert main([*command, "--dry-run"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "refused" in err
    assert len(host.records()) == before


def test_a_newer_root_of_an_active_bundle_is_said_before_and_after(
    host: RealHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = host.bundle
    second = next_root(first.root, signers=first.keys.root)
    medium = republish(first, tmp_path / "again", roots=(first.root, second))
    # What was signed stays as it was; only the root is new.
    for path in (first.folder / "metadata").iterdir():
        (medium.folder / "metadata" / path.name).write_bytes(path.read_bytes())
    command = ("bundle", "import", str(medium.folder))
    planned = lines(host, capsys, *command, "--dry-run")
    assert planned[-1] == "would trust root 2 from then on"
    assert lines(host, capsys, *command) == [
        "bundle 1 of channel main is active; root 2 is trusted from now on"
    ]
    assert host.records()[-1]["event"] == "trust.updated"
