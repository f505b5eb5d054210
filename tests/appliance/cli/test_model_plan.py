"""``sallyport model plan`` as a person calls it: refusals first."""

import json
from pathlib import Path

import pytest

from appliance.cli import main
from tests.support.gguf_writer import TinyModel, write_hollow_model
from tests.support.real_host import RealHost, commission

pytestmark = pytest.mark.system

TOO_LARGE = TinyModel(
    layers=64,
    embedding=16_384,
    heads=128,
    kv_heads=8,
    feed_forward=65_536,
    context=2_048,
    weights="f16",
)
"""Half a terabyte of weights, none of which is on the disk."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> RealHost:
    return commission(tmp_path_factory.mktemp("plan"), models=[("demo", demo_model)])


def run(home: Path, *arguments: str) -> int:
    return main(["--home", str(home), "model", "plan", *arguments])


@pytest.mark.parametrize("name", ["other", "", "no/such/file", "none.gguf"])
def test_a_model_that_is_not_there_is_refused(
    host: RealHost, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host.home, name) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "missing" in err


@pytest.mark.parametrize(
    "options", [("--users", "0"), ("--users", "41"), ("--context", "63")]
)
def test_a_number_out_of_range_is_a_wrong_call(
    host: RealHost, options: tuple[str, ...]
) -> None:
    assert run(host.home, "demo", *options) == 2


def test_a_file_that_is_no_model_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(20))
    assert run(tmp_path, str(path), "--json") == 4
    out, err = capsys.readouterr()
    assert out == ""
    error = json.loads(err.splitlines()[-1])["error"]
    assert error["code"] == "engine-unavailable"


def test_what_does_not_fit_is_told_and_ends_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_hollow_model(tmp_path / "large.gguf", TOO_LARGE)
    assert path.stat().st_size > 2**38
    assert run(tmp_path, str(path), "--json") == 4
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["fits"] is False
    assert value["would_fit"] is None
    assert value["total_bytes"] > value["allowed"][0]["bytes"]
    assert {row["most_users"] for row in value["table"]} == {0}
    error = json.loads(err.splitlines()[-1])["error"]
    assert error["code"] == "insufficient-memory"


def test_a_model_in_service_is_planned_as_the_settings_say(
    host: RealHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host.home, "demo", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["model"] == "demo"
    assert value["fits"] is True
    assert value["exact"] is True
    assert value["asked"] == {
        "context_tokens": value["trained_tokens"],
        "sequences": 16,
        "cells": 16_384,
    }
    parts = value["memory"]["host"], value["memory"]["beside"].items()
    beside = {f"{part}_bytes": size for part, size in parts[1]}
    assert sum({**parts[0], **beside}.values()) == value["total_bytes"]
    (row,) = value["table"]
    assert row["context_tokens"] == value["trained_tokens"]
    assert row["most_users"] == 40


def test_users_and_context_are_planned_for(
    host: RealHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host.home, "demo", "--users", "3", "--context", "256", "--json") == 0
    asked = json.loads(capsys.readouterr().out)["asked"]
    assert (asked["context_tokens"], asked["sequences"]) == (256, 3)
    assert asked["cells"] >= 3 * 256


def test_a_model_that_is_not_there_is_not_measured(
    host: RealHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(host.home), "model", "calibrate", "other"]) == 3
    assert "missing" in capsys.readouterr().err


def test_what_was_measured_is_told_and_kept_for_the_next_load(
    host: RealHost, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = host.home / "sallyport.toml"
    settings.write_text(
        '[engine]\ncells = 512\nsequences = 2\ncache_type = "q8_0"\nthreads = 1\n'
    )
    try:
        assert main(["--home", str(host.home), "model", "calibrate", "demo"]) == 0
        text = capsys.readouterr().out
        assert "q8_0 cache, flash attention on" in text
        assert "the next load takes: q8_0 cache" in text
        rounded = plan_of(host, capsys)
        settings.write_text("[engine]\ncells = 512\nsequences = 2\n")
        exact = plan_of(host, capsys)
    finally:
        settings.unlink()
    assert 0.5 < rounded / exact < 0.55


def plan_of(host: RealHost, capsys: pytest.CaptureFixture[str]) -> int:
    """The bytes of the cache that the next load of the model has."""
    assert run(host.home, "demo", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    return int(value["memory"]["host"]["cache_bytes"])


def test_a_person_reads_yes_or_no_and_the_table(
    host: RealHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host.home, "demo") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "yes: this fits" in lines
    assert any(line.startswith("CONTEXT  1 USERS") for line in lines)
    words = [line.split()[:2] for line in lines if line.startswith("host")]
    assert [word for _, word in words] == [
        "weights",
        "cache",
        "compute",
        "output",
        "sampling",
        "spill",
        "requests",
        "process",
        "total",
        "allowed",
    ]
