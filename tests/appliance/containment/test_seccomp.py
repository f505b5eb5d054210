"""The filter holds in a fresh process, its threads and its children."""

import platform
import subprocess
import sys
import textwrap

import pytest

from appliance.containment.seccomp import refuse_network
from bundleformat.errors import InternalFaultError


def contained(script: str) -> str:
    """Run ``script`` in a process of its own after the filter, return its output."""
    prelude = """
        import ctypes, errno, os, socket, subprocess, sys, threading
        from appliance.containment.seccomp import refuse_network

        def name_of(call):
            try:
                call()
            except OSError as error:
                return errno.errorcode[error.errno]
            return "allowed"
    """
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            textwrap.dedent(prelude) + textwrap.dedent(script),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"])
def test_contained_process_cannot_open_a_socket_of_another_family(family: str) -> None:
    answer = contained(f"""
        refuse_network()
        print(name_of(lambda: socket.socket(socket.{family}, socket.SOCK_RAW)))
    """)
    assert answer == "EAFNOSUPPORT"


def test_contained_process_still_talks_over_unix_sockets() -> None:
    answer = contained("""
        refuse_network()
        ours, theirs = socket.socketpair()
        theirs.sendall(b"hello")
        print(ours.recv(5).decode(), name_of(lambda: socket.socket(socket.AF_UNIX)))
    """)
    assert answer == "hello allowed"


def test_contained_process_cannot_reach_io_uring_or_ptrace() -> None:
    answer = contained("""
        refuse_network()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall(425, 1, None) == -1
        print(errno.errorcode[ctypes.get_errno()])
        assert libc.ptrace(0, 0, 0, 0) == -1
        print(errno.errorcode[ctypes.get_errno()])
    """)
    assert answer.split() == ["ENOSYS", "EPERM"]


def test_filter_binds_a_thread_that_ran_before_it_and_children_after_it() -> None:
    answer = contained("""
        gate = threading.Event()
        found = []
        def late():
            gate.wait()
            found.append(name_of(lambda: socket.socket(socket.AF_INET)))
        thread = threading.Thread(target=late)
        thread.start()
        refuse_network()
        gate.set()
        thread.join()
        child = "import socket; socket.socket(socket.AF_INET)"
        done = subprocess.run([sys.executable, "-I", "-c", child], capture_output=True)
        print(found[0], b"Address family not supported" in done.stderr)
    """)
    assert answer == "EAFNOSUPPORT True"


def test_unknown_architecture_is_refused_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(InternalFaultError) as caught:
        refuse_network()
    assert caught.value.code == "check-failed"
    assert caught.value.where == "pdp11"


def test_a_process_without_sockets_opens_none_and_connects_none() -> None:
    answer = contained("""
        from appliance.containment.seccomp import refuse_sockets
        ours, theirs = socket.socketpair()
        other = socket.socket(socket.AF_UNIX)
        refuse_sockets()
        theirs.sendall(b"hello")
        print(
            ours.recv(5).decode(),
            name_of(lambda: socket.socket(socket.AF_UNIX)),
            name_of(lambda: other.connect("/nowhere")),
        )
    """)
    assert answer == "hello EAFNOSUPPORT EPERM"
