"""The arithmetic of the benchmarks; the benchmarks themselves assert nothing."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result, table


def scripted(
    name: str, *values: float, log: list[str]
) -> Callable[[], dict[str, float]]:
    coming = itertools.cycle(values)

    def measure() -> dict[str, float]:
        log.append(name)
        return {name: next(coming)}

    return measure


def test_rounds_put_the_floor_before_and_after_and_reverse_every_other_time() -> None:
    log: list[str] = []
    subjects = [scripted(name, 1.0, log=log) for name in ("a", "b")]
    measure_rounds(scripted("floor", 1.0, log=log), subjects, repetitions=2)
    warm_up, rounds = log[:3], log[3:]
    assert warm_up == ["floor", "a", "b"]
    assert rounds == ["floor", "a", "b", "floor", "floor", "b", "a", "floor"]


def test_a_ratio_is_made_within_its_round_and_noise_is_the_floor_to_itself() -> None:
    log: list[str] = []
    # The first value of each is the warm-up's.
    floor = scripted("floor", 99.0, 1.0, 3.0, 4.0, 4.0, log=log)
    subject = scripted("subject", 99.0, 6.0, 2.0, log=log)
    rounds = measure_rounds(floor, [subject], repetitions=2)
    assert rounds.ratio("subject", "floor") == (3.0, 0.5)
    assert rounds.difference("subject", "floor") == (4.0, -2.0)
    assert rounds.noise("floor") == (3.0, 1.0)


def test_a_quick_plan_does_less_but_never_nothing(tmp_path: Path) -> None:
    quick = Plan(repetitions=1, quick=True, scratch=tmp_path)
    assert [quick.amount(full) for full in (1, 8, 80)] == [1, 1, 10]
    full = Plan(repetitions=1, quick=False, scratch=tmp_path)
    assert full.amount(80) == 80


def test_a_result_is_shown_with_its_noise_and_as_json_with_every_value() -> None:
    result = Result(
        name="example",
        title="something",
        ratios=(Figure(name="a / b", values=(1.0, 3.0, 2.0)),),
        context=(Figure(name="a", values=(120.0,), unit="MiB"),),
        noise=Figure(name="noise: b / b", values=(0.9, 1.1)),
    )
    rows = [line.split() for line in table(result).splitlines()]
    assert ["a", "/", "b", "2.000", "1.000", "3.000", "x"] in rows
    assert ["noise:", "b", "/", "b", "1.000", "0.900", "1.100", "x"] in rows
    assert ["a", "120", "120", "120", "MiB"] in rows
    value = json.loads(json.dumps(result.to_json()))
    assert value["ratios"][0]["values"] == [1.0, 3.0, 2.0]


def run(repository: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("nothing",), ("ledger", "--repetitions", "0")])
def test_the_command_refuses_what_it_cannot_measure(
    repository: Path, arguments: tuple[str, ...]
) -> None:
    done = run(repository, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_ledger_benchmark_runs_and_leaves_nothing(
    repository: Path, tmp_path: Path
) -> None:
    options = ("--quick", "--json", "--repetitions", "1", "--scratch", str(tmp_path))
    done = run(repository, "ledger", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["quick"] is True
    figures: list[Mapping[str, float]] = found["benchmarks"][0]["ratios"]
    assert all(figure["median"] > 0 for figure in figures)
    assert not list(tmp_path.iterdir())
