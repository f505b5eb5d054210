"""What is installed is compared with what the wheels record, file by file."""

import os
import zipfile
from pathlib import Path

import pytest

from appliance.environments.record import Layout, check_installed, read_record
from bundleformat.errors import DigestMismatchError, MalformedError, RefusalError
from tests.support.publish_wheels import tiny_wheel

MODULES = {"tool.py": b"def main():\n    pass\n", "tool_data/x.txt": b"x\n"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(folder=tmp_path / "environment", python="3.11")
    made.packages.mkdir(parents=True)
    made.scripts.mkdir()
    return made


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tiny_wheel(tmp_path, "tool", contents=MODULES, scripts={"tool": "tool:main"})


def install(wheel: Path, layout: Layout) -> None:
    """Install as an installer does, for tests that then change something."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            place = layout.place(name, distribution="tool")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
    (layout.packages / "tool-1.0.dist-info" / "INSTALLER").write_bytes(b"pip\n")
    cache = layout.packages / "__pycache__"
    cache.mkdir()
    (cache / "tool.cpython-311.pyc").write_bytes(b"compiled")
    (layout.scripts / "tool").write_text(f"#!{layout.scripts}/python\nrun\n")
    (layout.scripts / "python").symlink_to("/usr/bin/python3")


def refuses(
    kind: type[RefusalError], layout: Layout, wheel: Path, where: str = ""
) -> None:
    with pytest.raises(kind) as caught:
        check_installed(layout, [wheel])
    assert type(caught.value) is kind
    if where:
        assert caught.value.where == where


def test_a_changed_file_is_found(layout: Layout, wheel: Path) -> None:
    install(wheel, layout)
    (layout.packages / "tool.py").write_bytes(b"evil = 1\n")
    where = "lib/python3.11/site-packages/tool.py"
    refuses(DigestMismatchError, layout, wheel, where)


def test_a_missing_file_is_found(layout: Layout, wheel: Path) -> None:
    install(wheel, layout)
    (layout.packages / "tool.py").unlink()
    refuses(MalformedError, layout, wheel, "lib/python3.11/site-packages/tool.py")


@pytest.mark.parametrize(
    "name",
    [
        "other.py",
        "evil.pth",
        "sitecustomize.py",
        "__pycache__/other.cpython-311.pyc",
        "tool_data/tool.py",
        "other-1.0.dist-info/INSTALLER",
        "tool-1.0.dist-info/extra.txt",
    ],
)
def test_a_file_too_many_is_found(layout: Layout, wheel: Path, name: str) -> None:
    install(wheel, layout)
    path = layout.packages / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"evil = 1\n")
    refuses(MalformedError, layout, wheel, f"lib/python3.11/site-packages/{name}")


@pytest.mark.parametrize(
    ("kind", "error"), [("link", MalformedError), ("fifo", DigestMismatchError)]
)
def test_what_is_no_file_is_found(
    layout: Layout, wheel: Path, kind: str, error: type[RefusalError]
) -> None:
    install(wheel, layout)
    path = layout.packages / "tool.py"
    path.unlink()
    if kind == "link":
        elsewhere = layout.folder / "elsewhere.py"
        elsewhere.write_bytes(MODULES["tool.py"])
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    refuses(error, layout, wheel)


def test_a_command_too_many_is_found(layout: Layout, wheel: Path) -> None:
    install(wheel, layout)
    (layout.scripts / "other").write_text(f"#!{layout.scripts}/python\nrun\n")
    refuses(MalformedError, layout, wheel, "bin/other")


def test_a_command_of_another_python_is_found(layout: Layout, wheel: Path) -> None:
    install(wheel, layout)
    (layout.scripts / "tool").write_text("#!/usr/bin/python3\nrun\n")
    refuses(MalformedError, layout, wheel, "bin/tool")


@pytest.mark.parametrize(
    "record",
    [
        b"tool.py\n",
        b"tool.py,md5=AAAA,1\n",
        b"tool.py,,\n",
        b"../tool.py,sha256=AAAA,1\n",
        b"tool-1.0.data/other/x,sha256=AAAA,1\n",
        b"\xff,sha256=AAAA,1\n",
    ],
)
def test_a_record_that_cannot_be_followed_is_refused(
    layout: Layout, tmp_path: Path, record: bytes
) -> None:
    wheel = tmp_path / "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tool-1.0.dist-info/RECORD", record)
    refuses(MalformedError, layout, wheel)


def test_a_wheel_without_a_record_is_refused(layout: Layout, tmp_path: Path) -> None:
    wheel = tmp_path / "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tool.py", b"")
    refuses(MalformedError, layout, wheel)


def test_what_is_no_archive_is_refused(layout: Layout, tmp_path: Path) -> None:
    wheel = tmp_path / "tool-1.0-py3-none-any.whl"
    wheel.write_bytes(b"none")
    refuses(MalformedError, layout, wheel)


def test_a_whole_installation_passes(layout: Layout, wheel: Path) -> None:
    install(wheel, layout)
    check_installed(layout, [wheel])


def test_every_file_but_the_record_is_read_from_it(layout: Layout, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        recorded = list(read_record(archive, wheel.name, layout=layout))
    names = {each.member for each in recorded}
    assert names == {
        *MODULES,
        *(f"tool-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL")),
        "tool-1.0.dist-info/entry_points.txt",
    }
