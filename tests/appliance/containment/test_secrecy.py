"""Another process of the same user cannot look into a protected one."""

import os
import subprocess
import sys

import pytest

IMPORT = "import resource; from appliance.containment.secrecy import *"
PROTECT = "forbid_inspection()"

PLAY = """
import ctypes, os, signal
from appliance.containment.secrecy import forbid_inspection

def as_a_plain_user():
    os.setgid(65534)
    os.setuid(65534)
    # As after running a program, which is how every process here begins.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)

ready, wake = os.pipe()
victim = os.fork()
if victim == 0:
    as_a_plain_user()
    {protect}
    os.write(wake, b"x")
    signal.pause()
os.close(wake)
assert os.read(ready, 1)
attacker = os.fork()
if attacker == 0:
    as_a_plain_user()
    try:
        os.open(f"/proc/{{victim}}/mem", os.O_RDWR)
        print("opened", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(attacker, 0)
os.kill(victim, signal.SIGKILL)
"""
"""A victim and an attacker of one plain user; the attacker opens the memory."""


def look(protect: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PLAY.format(protect=protect)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_a_protected_process_cannot_be_read_by_its_own_user() -> None:
    assert look("pass") == "opened"
    assert look(PROTECT) == "PermissionError"


def test_a_protected_process_dumps_no_core() -> None:
    script = f"{IMPORT}; {PROTECT}; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(0, 0)"
