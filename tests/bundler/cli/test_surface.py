"""What every command has in common: help, statuses, the shape of a refusal."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from bundler import cli
from bundler.cli import build as cli_bundle
from bundler.cli.output import PROGRAM
from tests.bundler.conftest import Desk

COMMANDS = [
    ("keygen",),
    ("root", "init"),
    ("root", "show"),
    ("root", "add-key"),
    ("root", "remove-key"),
    ("root", "set-threshold"),
    ("root", "renew"),
    ("root", "sign"),
    ("root", "status"),
    ("root", "cancel"),
    ("sign",),
    ("attach",),
    ("trust-bundle",),
    ("site", "issue"),
    ("site", "approve"),
    ("build",),
    ("plan",),
    ("diff",),
    ("inspect",),
    ("verify",),
    ("split",),
    ("join",),
    ("image",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_each_of_its_options(
    desk: Desk, command: tuple[str, ...]
) -> None:
    status, out, err = desk.run(*command, "--help")
    assert (status, err) == (0, "")
    assert "--json" in out
    lines = out.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  --"):
            explained = line.strip().split("  ", 1)[1:]
            assert explained or following.startswith("     "), line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_called_without_arguments_is_a_usage_error(
    desk: Desk, command: tuple[str, ...]
) -> None:
    desk.refuses(*command, code="usage", status=2)


@pytest.mark.parametrize("arguments", [("build", "--no-such-option"), ("nonsense",)])
def test_what_is_no_command_is_a_usage_error(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    desk.refuses(*arguments, code="usage", status=2)


@pytest.mark.parametrize("arguments", [(), ("root",), ("site",)])
def test_no_command_shows_the_help(desk: Desk, arguments: tuple[str, ...]) -> None:
    status, out, err = desk.run(*arguments)
    assert (status, out) == (2, "")
    assert "Usage:" in err


def test_a_refusal_reads_program_kind_code_and_hint(desk: Desk) -> None:
    status, out, err = desk.run("keygen", "mine")
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"{PROGRAM}: usage: no passphrase")
    assert second.startswith("hint: ")


def test_the_version_is_shown(desk: Desk) -> None:
    status, out, err = desk.run("--version")
    assert (status, out, err) == (0, f"{PROGRAM} {version('sallyport')}\n", "")


def test_the_help_of_build_shows_a_spec_line_by_line(desk: Desk) -> None:
    _, out, _ = desk.run("build", "--help")
    for line in cli_bundle.BUILD_HELP.splitlines():
        if line.startswith("    "):
            assert line.strip() in out


def test_a_bug_is_reported_as_one(desk: Desk) -> None:
    # Without a runtime no command can work; only a bug would call it so.
    status = cli.main(["root", "show", "pw"], runtime=object())  # type: ignore[arg-type]
    _, err = desk.capture.readouterr()
    assert status == 1
    assert err.splitlines()[-1] == f"{PROGRAM}: bug: please report the lines above"


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bundler", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: sallyport-bundler" in done.stdout
