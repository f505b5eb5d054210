"""The ruleset holds in a fresh process, in what it becomes and in what it starts."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from appliance.containment.landlock import check_offered

PRELUDE = """
    import ctypes, errno, json, os, signal, socket, subprocess, sys
    from pathlib import Path
    from appliance.containment.bpf import Refusal, install_filter
    from appliance.containment.landlock import Reach, check_offered, restrict_files
    from bundleformat.errors import InternalFaultError

    read, run, write, other = map(Path, sys.argv[1:])

    def name_of(call, *arguments):
        try:
            call(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]
        return "allowed"

    def restrict():
        restrict_files(
            Reach(
                read=(read,),
                run=(run, *map(Path, ("/usr", "/lib", "/lib64", sys.base_prefix))),
                write=(write, Path("/dev/null")),
            )
        )
"""


class Place:
    """Four folders, each with a file in it and a program."""

    def __init__(self, folder: Path) -> None:
        self.names = ("read", "run", "write", "other")
        self.folders = [folder / name for name in self.names]
        for each in self.folders:
            each.mkdir()
            (each / "file").write_text("content")
            (each / "program").write_text("#!/bin/sh\nexit 0\n")
            (each / "program").chmod(0o755)

    def contained(self, script: str) -> Any:
        """Run ``script`` in a process of its own, return what it prints as JSON."""
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-c"),
                textwrap.dedent(PRELUDE) + textwrap.dedent(script),
                *map(str, self.folders),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def left(self) -> dict[str, dict[str, str]]:
        """Return what lies in each folder."""
        return {
            name: {path.name: path.read_text() for path in sorted(folder.iterdir())}
            for name, folder in zip(self.names, self.folders, strict=True)
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_kernel_without_it_is_a_fault_and_restricts_nothing(place: Place) -> None:
    said = place.contained("""
        absent = Refusal(call="landlock_create_ruleset", error=errno.ENOSYS)
        install_filter([absent])
        found = []
        for call in (check_offered, restrict):
            try:
                call()
            except InternalFaultError as error:
                found.append([error.code, error.where, bool(error.hint)])
        found.append((other / "file").read_text())
        print(json.dumps(found))
    """)
    assert said == [["check-failed", "landlock", True]] * 2 + ["content"]


def test_a_kernel_that_refuses_at_the_last_moment_is_a_fault(place: Place) -> None:
    said = place.contained("""
        install_filter([Refusal(call="landlock_restrict_self", error=errno.E2BIG)])
        try:
            restrict()
        except InternalFaultError as error:
            print(json.dumps([error.code, error.where, error.hint]))
    """)
    assert said == ["check-failed", "landlock", ""]


def test_only_what_is_named_can_be_read(place: Place) -> None:
    said = place.contained("""
        restrict()
        folders = {"read": read, "run": run, "write": write, "other": other}
        found = {
            name: [name_of((each / "file").read_bytes), name_of(os.listdir, each)]
            for name, each in folders.items()
        }
        found["secret"] = [name_of(Path("/etc/passwd").read_bytes)]
        print(json.dumps(found))
    """)
    allowed, refused = ["allowed"] * 2, ["EACCES"] * 2
    assert said == {
        "read": allowed,
        "run": allowed,
        "write": allowed,
        "other": refused,
        "secret": ["EACCES"],
    }


CHANGES = """
    def change(folder):
        file = folder / "file"
        return [
            name_of((folder / "new").write_bytes, b"x"),
            name_of(file.write_bytes, b"x"),
            name_of((folder / "folder").mkdir),
            name_of((folder / "folder").rmdir),
            name_of((folder / "link").symlink_to, "/etc/passwd"),
            name_of(os.link, file, folder / "hard"),
            name_of(file.rename, folder / "moved"),
            name_of((folder / "program").unlink),
        ]
"""


@pytest.mark.parametrize("folder", ["read", "run", "other"])
def test_what_is_not_to_be_written_stays_as_it_was(place: Place, folder: str) -> None:
    before = place.left()
    said = place.contained(
        CHANGES + f"    restrict()\n    print(json.dumps(change({folder})))\n"
    )
    # Removing a folder that could not be made finds none.
    assert said == ["EACCES"] * 3 + ["ENOENT"] + ["EACCES"] * 4
    assert place.left() == before


def test_what_may_be_written_may_be_changed_in_every_way(place: Place) -> None:
    said = place.contained(
        CHANGES + "    restrict()\n    print(json.dumps(change(write)))\n"
    )
    assert said == ["allowed"] * 8
    assert not (place.folders[2] / "program").exists()


def test_nothing_leaves_a_folder_by_a_new_name_or_by_a_link(place: Place) -> None:
    said = place.contained("""
        restrict()
        (write / "way").symlink_to(other / "file")
        print(json.dumps([
            name_of((write / "file").rename, other / "moved"),
            name_of((other / "file").rename, write / "moved"),
            name_of(os.link, other / "file", write / "hard"),
            name_of((write / "way").read_bytes),
            name_of((write / "way").write_bytes, b"x"),
            name_of(os.truncate, other / "file", 0) if check_offered() >= 3 else "",
        ]))
    """)
    assert set(said[:3]) <= {"EACCES", "EXDEV"}
    assert said[3:5] == ["EACCES", "EACCES"]
    assert said[5] in {"EACCES", ""}
    assert (place.folders[3] / "file").read_text() == "content"


def test_what_is_written_is_not_run(place: Place) -> None:
    said = place.contained("""
        restrict()
        folders = (read, run, write, other)
        print(json.dumps([
            name_of(subprocess.run, [str(each / "program")]) for each in folders
        ]))
    """)
    assert said == ["EACCES", "allowed", "EACCES", "EACCES"]


def test_no_device_is_made_and_a_named_one_is_used(place: Place) -> None:
    said = place.contained("""
        restrict()
        null = os.makedev(1, 3)
        print(json.dumps([
            name_of(os.mknod, write / "device", 0o600 | 0o020000, null),
            name_of(Path("/dev/null").write_bytes, b"x"),
            name_of(Path("/dev/zero").read_bytes),
        ]))
    """)
    assert said[0] in {"EACCES", "EPERM"}
    assert said[1:] == ["allowed", "EACCES"]


def test_what_the_process_becomes_and_starts_is_bound_too(place: Place) -> None:
    said = place.contained("""
        restrict()
        child = f"print(open({str(other / 'file')!r}).read())"
        python = str(Path(sys.executable).resolve())
        done = subprocess.run([python, "-I", "-c", child], capture_output=True)
        print(json.dumps(done.stderr.decode().splitlines()[-1]))
    """)
    secret = str(place.folders[3] / "file")
    assert said == f"PermissionError: [Errno 13] Permission denied: {secret!r}"


def test_files_that_are_open_stay_usable(place: Place) -> None:
    said = place.contained("""
        file = (other / "file").open("r+")
        restrict()
        found = file.read()
        file.write(" and more")
        file.close()
        print(json.dumps(found))
    """)
    assert said == "content"
    assert (place.folders[3] / "file").read_text() == "content and more"


def test_a_place_that_appears_later_stays_out_of_reach(place: Place) -> None:
    place.folders[0].rename(place.folders[0].with_name("elsewhere"))
    said = place.contained("""
        script = 'read line; mkdir "$0"; echo content > "$0/file"'
        maker = subprocess.Popen(
            ["/bin/sh", "-c", script, str(read)], stdin=subprocess.PIPE
        )
        restrict()
        before = name_of((read / "file").read_bytes)
        maker.communicate(b"now")
        print(json.dumps([before, name_of((read / "file").read_bytes)]))
    """)
    assert said == ["ENOENT", "EACCES"]
    assert (place.folders[0] / "file").is_file()


@pytest.mark.skipif(check_offered() < 4, reason="this kernel's landlock has no ports")
@pytest.mark.enable_socket
def test_no_tcp_port_is_bound_or_reached(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = place.contained(f"""
            restrict()
            ours = [socket.socket() for _ in range(2)]
            print(json.dumps([
                name_of(ours[0].connect, ("127.0.0.1", {port})),
                name_of(ours[1].bind, ("127.0.0.1", 0)),
            ]))
        """)
    assert said == ["EACCES", "EACCES"]


@pytest.mark.skipif(check_offered() < 6, reason="this kernel's landlock has no scopes")
def test_no_other_process_is_signalled_or_reached_by_name(place: Place) -> None:
    name = f"\0sallyport-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        said = place.contained(f"""
            restrict()
            ours = socket.socket(socket.AF_UNIX)
            print(json.dumps([
                name_of(ours.connect, {name!r}), name_of(os.kill, os.getppid(), 0)
            ]))
        """)
    assert said == ["EPERM", "EPERM"]
