"""Coverage-guided fuzzing of every target, for a bounded number of inputs and seconds.

Each target runs in a process of its own with little memory: a crash, an exception
that is no refusal, an input that takes too long or too much ends it with a status,
and what it died of is the last thing it says. Inputs that are found are put among
the vectors, and the bug gets a test of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

RUNS = 100_000
SECONDS = 12
INPUT_S = 10
"""Longest that one input may take. Unit: seconds of wall-clock time."""


def fuzz(name: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Fuzz one target, beginning with its seeds."""
    return subprocess.run(
        (
            *(sys.executable, "-m", "tests.fuzz.fuzz_one", name),
            *(f"-runs={RUNS}", f"-max_total_time={SECONDS}", f"-timeout={INPUT_S}"),
            *("-max_len=65536", "-print_final_stats=1", f"-artifact_prefix={folder}/"),
            *options,
            str(folder / "corpus"),
        ),
        cwd=Path(__file__).parents[2],
        timeout=20 * SECONDS,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )


@pytest.mark.slow
@pytest.mark.timeout(30 * SECONDS)
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_does_worse_than_be_refused(name: str, tmp_path: Path) -> None:
    done = fuzz(name, tmp_path)
    said = done.stdout + done.stderr
    found = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert (done.returncode, found) == (0, []), said[-4_000:]
    (runs,) = (
        int(line.rpartition(" ")[2])
        for line in said.splitlines()
        if line.startswith("stat::number_of_executed_units")
    )
    # As many inputs at least as it was given, else it did not fuzz.
    assert runs > len(TARGETS[name].seeds())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["exception", "time", "memory"])
def test_a_reader_that_does_worse_is_found(what: str, tmp_path: Path) -> None:
    done = fuzz(f"broken-{what}", tmp_path, "-timeout=1")
    assert done.returncode != 0
    assert any(path.is_file() for path in tmp_path.iterdir())
