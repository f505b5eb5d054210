"""The processes that only measure: what they may not do, and how they end."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.engine import protocol as wire
from appliance.engine.launch import PROBE, STOPWATCH
from appliance.engine.planning.search import limited
from tests.appliance.engine.peer import LOAD
from tests.support.demo_engine import DEMO_MODEL

pytestmark = pytest.mark.system

ORDER = limited(
    replace(LOAD, model_paths=(str(DEMO_MODEL),)), cells=1_024, context_tokens=512
)


class Child:
    """A probe process, spoken to without the gateway's code."""

    def __init__(self, module: str = PROBE, *, allowed_bytes: int = 2**30) -> None:
        self._ours, theirs = socket.socketpair()
        arguments = (str(theirs.fileno()), str(os.getpid()), str(allowed_bytes))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", module, *arguments],
                pass_fds=(theirs.fileno(),),
                stderr=subprocess.PIPE,
            )

    def ask(self, order: wire.Order) -> wire.Report:
        self._ours.sendall(wire.encode(order))
        splitter = wire.FrameSplitter()
        while data := self._ours.recv(2**16):
            for payload in splitter.feed(data):
                return wire.decode_report(payload)
        raise EOFError

    def close(self) -> int:
        self._ours.close()
        _, _ = self.process.communicate(timeout=30)
        return self.process.returncode


def test_a_probe_is_confined() -> None:
    child = Child()
    assert isinstance(child.ask(ORDER), wire.Measured)
    pid = child.process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
    limits = {
        line[:25].strip(): line[25:].split()
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
    }
    assert limits["Max cpu time"][:2] == ["120", "120"]
    assert limits["Max core file size"][:2] == ["0", "0"]
    soft, hard = limits["Max address space"][:2]
    assert soft == hard
    assert 2**30 <= int(hard) < 2**30 + 2**29
    assert child.close() == 0


def test_a_probe_that_may_take_too_little_says_so_and_loads_nothing() -> None:
    child = Child(allowed_bytes=2**16)
    try:
        answered: wire.Report | None = child.ask(ORDER)
    except (EOFError, ConnectionError):
        answered = None
    assert child.close() != 0 or isinstance(answered, wire.LoadFailed)


def test_a_probe_ends_with_its_gateway() -> None:
    child = Child()
    assert isinstance(child.ask(ORDER), wire.Measured)
    assert child.close() == 0


def test_a_stopwatch_is_contained_and_ends_with_its_gateway() -> None:
    child = Child(STOPWATCH)
    assert isinstance(child.ask(ORDER), wire.Timed)
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert child.close() == 0


@pytest.mark.parametrize("module", [PROBE, STOPWATCH])
def test_they_answer_nothing_but_loads(module: str) -> None:
    child = Child(module)
    with pytest.raises(EOFError):
        child.ask(wire.AskStats())
    assert child.process.wait(30) == 4
    child.close()


def test_limits_that_a_probe_inherits_are_told() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (2**36, hard))
    try:
        child = Child()
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    report = child.ask(ORDER)
    assert isinstance(report, wire.Measured)
    (ceiling,) = report.footprint.ceilings
    assert ceiling.name == "the limit of data"
    assert 2**36 - 2**30 < ceiling.left_bytes < 2**36
    child.close()
