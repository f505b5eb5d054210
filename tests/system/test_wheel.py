"""What the wheel carries: migrations and policies work from it, tests stay out."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import appliance
from appliance.core_policies import core_files
from appliance.db.session import create_database, open_database
from appliance.policy.compile import compile_policies
from appliance.resources import folder

assert Path(appliance.__file__).is_relative_to(sys.argv[1]), appliance.__file__
assert folder("migrations").is_relative_to(sys.argv[1])
database = Path(sys.argv[2]) / "sallyport.db"
create_database(database).dispose()
open_database(database).dispose()
assert compile_policies(core_files()).rules
"""


@pytest.fixture(scope="module")
def unpacked(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(folder), str(repository)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    inside = folder / "inside"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            target = inside / name
            assert target.resolve().is_relative_to(inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    return inside


def test_migrations_and_policies_work_from_the_wheel(
    unpacked: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(unpacked), str(tmp_path)],
        env={"PYTHONPATH": str(unpacked)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_carries_the_packages_and_nothing_else(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir()}
    assert tops == {
        "appliance",
        "bundleformat",
        "bundler",
        "sallyport-0.1.0.dist-info",
    }
    assert (unpacked / "bundler/demo/sallyport-demo.q8_0.gguf").is_file()
    assert not (unpacked / "bundler/demo/model").exists()
    assert (unpacked / "appliance/_policies/core/region.cedar").is_file()
