"""``sallyport environment``: which there are, and where a team's Python is."""

import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from appliance.clock import SystemClock
from appliance.environments.place import make_removable
from tests.support.publish_wheels import (
    environment_of,
    publish_artifacts,
    quick_pip,
    tiny_wheel,
)
from tests.support.publisher import make_root, new_keys


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A host that imported two bundles with an environment each."""
    folder = tmp_path_factory.mktemp("environments")
    now = SystemClock().now().replace(microsecond=0)
    keys = new_keys()
    later = now + dt.timedelta(days=30)
    root = make_root(keys, expires=later)
    path = folder / "1.root.json"
    path.write_bytes(root)
    wheels = (quick_pip(folder / "w"), tiny_wheel(folder / "w", "helper"))
    made = folder / "home"
    for version in (1, 2):
        bundle = publish_artifacts(
            folder / f"bundle-{version}",
            [
                *environment_of("tools", wheels),
                *environment_of("appliance", wheels, role="appliance"),
                *environment_of("other", wheels, python="3.99"),
            ],
            keys=keys,
            roots=[root],
            version=version,
            created=now,
            expires=later,
        )
        if version == 1:
            trust = ["trust", "init", "--root", str(path)]
            assert run(made, *trust, "--fingerprint", bundle.fingerprint) == 0
        assert run(made, "bundle", "import", str(bundle.folder)) == 0
    yield made
    make_removable(made / "environments")


def run(home: Path, *arguments: str) -> int:
    return main(["--home", str(home), *arguments])


def shown(
    home: Path, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[str, Any]:
    capsys.readouterr()
    assert run(home, *arguments, "--json") == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


@pytest.mark.parametrize("name", ["unknown", "appliance", "other", ""])
def test_what_is_not_installed_has_no_folder(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    capsys.readouterr()
    assert run(home, "environment", "path", name, "--json") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "missing"


def test_the_path_is_that_of_the_active_generation(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shown(home, capsys, "environment", "path", "tools")["folder"])
    assert run(home, "environment", "path", "tools") == 0
    assert capsys.readouterr().out == f"{folder}\n"
    said = subprocess.run(
        [str(folder / "bin" / "python"), "-c", "import helper; print(helper.NAME)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "helper\n"
    listed = shown(home, capsys, "environment", "list")["environments"]
    active = [each for each in listed if each["active"] and each["name"] == "tools"]
    assert [each["folder"] for each in active] == [str(folder)]
    assert [each["version"] for each in active] == [2]


def test_every_generation_is_listed_with_its_own(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = shown(home, capsys, "environment", "list")["environments"]
    assert len(listed) == 6
    places = [each["folder"] for each in listed if each["name"] == "tools"]
    assert len(set(places)) == 2
    assert all(place is not None for place in places)
    others = [each["folder"] for each in listed if each["name"] != "tools"]
    assert others == [None] * 4
    assert run(home, "environment", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "NAME"
    assert len(lines) == 7


def test_going_back_goes_back_to_the_older_environment(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = shown(home, capsys, "environment", "path", "tools")["folder"]
    assert run(home, "generations", "rollback", "--yes") == 0
    older = shown(home, capsys, "environment", "path", "tools")["folder"]
    assert older != newer
    assert Path(older, "bin", "python").exists()
