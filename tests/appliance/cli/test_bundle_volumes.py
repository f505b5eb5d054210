"""``bundle import`` from several volumes, with events for machines and reasons."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from appliance.cli import main, progress
from bundleformat.errors import VolumesMissingError
from tests.support.import_volumes import split
from tests.support.publisher import publish_bundle
from tests.support.real_host import RealHost, commission

POLICY = b"""
@id("site-%s")
@reason("a rule of this site")
forbid (principal, action, resource)
when { context.data_classes.contains("phi") };
"""


@pytest.fixture
def host(tmp_path: Path) -> RealHost:
    return commission(tmp_path, models=[], policies=[("first", POLICY % b"a")])


@pytest.fixture
def volumes(host: RealHost, tmp_path: Path) -> Sequence[Path]:
    """Version 2 of the host's channel, on two volumes."""
    first = host.bundle
    newer = publish_bundle(
        tmp_path / "newer",
        policies=[("first", POLICY % b"a"), ("second", POLICY % b"b" + b"// more\n")],
        version=2,
        keys=first.keys,
        roots=first.roots,
        created=first.manifest.created,
        expires=first.manifest.created.replace(year=first.manifest.created.year + 1),
        chunk_bytes=64,
    )
    return split(newer, tmp_path / "split", of=2)


def run(host: RealHost, *words: str) -> int:
    return main(["--home", str(host.home), "bundle", *words])


def test_a_wanted_volume_is_an_exit_status_of_its_own(
    host: RealHost, volumes: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(host, "import", str(volumes[0])) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "volumes-missing" in err
    assert "volume 2 of 2" in err
    assert run(host, "import", str(volumes[1])) == 0
    assert "is now active" in capsys.readouterr().out


def test_events_are_lines_of_json_on_stderr_and_the_result_is_on_stdout(
    host: RealHost, volumes: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(host, "import", *map(str, volumes), "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["generation"] == 2
    events = [json.loads(line) for line in err.splitlines()]
    steps = [each["step"] for each in events if each["event"] == "step"]
    assert steps[0] == "lock"
    assert steps[-1] == "done"
    last = [each for each in events if each["event"] == "progress"][-1]
    assert last["done_bytes"] == last["total_bytes"] > 0


def test_one_volume_alone_is_verified_and_says_what_it_covers(
    host: RealHost, volumes: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(host, "verify", str(volumes[1])) == 0
    assert "the others are on volume 1" in capsys.readouterr().out.splitlines()[-1]
    assert run(host, "verify", str(volumes[1]), "--json") == 0
    value = json.loads(capsys.readouterr().out)["verified"]
    assert (value["whole"], value["volumes_wanted"]) == (False, [1])
    assert run(host, "verify", *map(str, volumes)) == 0
    assert "every byte agrees" in capsys.readouterr().out


def test_a_dry_run_says_what_is_wanted_and_what_the_host_is(
    host: RealHost, volumes: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(host, "import", str(volumes[0]), "--dry-run", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["volumes"], value["volumes_wanted"]) == (2, [2])
    assert value["host"]["cpu"].startswith("x86-64-v")
    assert value["needed_bytes"] > value["copy_bytes"]
    assert run(host, "import", str(volumes[0]), "--dry-run") == 0
    assert "also wanted: volume 2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--accept-expired",),
        ("--reason", "because"),
        ("--accept-expired", "--reason", ""),
        ("--accept-expired", "--reason", "two\nlines"),
        ("--accept-expired", "--reason", "x" * 201),
    ],
)
def test_an_expired_bundle_is_accepted_only_with_a_reason_on_one_line(
    host: RealHost, volumes: Sequence[Path], words: Sequence[str]
) -> None:
    before = len(host.records())
    assert run(host, "import", *map(str, volumes), *words) == 2
    assert len(host.records()) == before


def test_a_person_at_a_terminal_is_asked_for_the_next_volume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = VolumesMissingError("wanted", expected="volume 2 of 2", volumes=(2,))
    assert not progress._ask_for_volume(wanted)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for answer, goes_on in (("", True), ("q", False), (" QUIT ", False)):
        monkeypatch.setattr(typer, "prompt", lambda *_, answer=answer, **__: answer)
        assert progress._ask_for_volume(wanted) is goes_on
