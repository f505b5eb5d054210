"""What a build says comes next, in commands that work."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bundler.conftest import Desk

Arguments = Callable[..., tuple[str, ...]]
UNLOCK = ("--passphrase-file", "pw")


def commands_in(folder: Path, out: str) -> dict[str, tuple[str, ...]]:
    """Return the publisher's commands in ``out``, as a shell would run them."""
    found = {}
    for line in out.splitlines():
        before, program, command = line.partition("sallyport-bundler ")
        if program and before.strip() in {"next:", "or write discs:"}:
            words = shlex.split(command)
            found[words[0]] = tuple(
                str(path.relative_to(folder)) if "*" in word else word
                for word in words
                for path in (sorted(folder.glob(word)) if "*" in word else [folder])
            )
    return found


@pytest.mark.parametrize(
    ("out", "volume_size"),
    [("a bundle", ""), ("my volumes", "1MiB"), ("b.mbundle", "")],
)
def test_a_build_says_what_comes_next_in_commands_that_work(
    ready: Desk, build_arguments: Arguments, out: str, volume_size: str
) -> None:
    arguments = build_arguments(out=out, volume_size=volume_size, chunk_size="64KiB")
    status, said, _ = ready.run(*arguments)
    assert status == 0
    commands = commands_in(ready.folder, said)
    assert set(commands) == ({"sheet"} if "mb" in out else {"sheet", "image"})
    sheet = ready.does(*commands["sheet"])
    assert len(sheet["files"]) == 2
    assert all((ready.folder / name).is_file() for name in sheet["files"])
    assert said.rstrip().endswith("sallyport bundle import MEDIUM")


def test_a_machine_is_told_nothing_of_it(
    ready: Desk, build_arguments: Arguments
) -> None:
    # ``does`` checks that stdout is one JSON value and stderr empty.
    value = ready.does(*build_arguments())
    looked = ready.does("inspect", "bundle", "--root", "root")
    assert value == {key: looked[key] for key in value}


def test_a_draft_that_is_completed_says_it_too(
    ready: Desk, build_arguments: Arguments
) -> None:
    ready.does(*build_arguments(release_key="", bundler_key=""))
    ready.does("sign", "bundle", "--key", "release.key", "--yes", *UNLOCK)
    complete = ("attach", "bundle", "--bundler-key", "bundler.key", *UNLOCK)
    status, said, _ = ready.run(*complete)
    assert status == 0
    assert "sheet bundle --root ROOT" in said
    status, said, _ = ready.run(*complete, "--root", "root")
    assert status == 0
    ready.does(*commands_in(ready.folder, said)["sheet"])


def test_a_trust_bundle_says_it_too(ready: Desk) -> None:
    status, said, _ = ready.run(
        *("trust-bundle", "--root", "root", "--version", "1", "--out", "trust"),
        *("--release-key", "release.key", "--bundler-key", "bundler.key", *UNLOCK),
    )
    assert status == 0
    ready.does(*commands_in(ready.folder, said)["sheet"])
