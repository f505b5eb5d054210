"""What a command says when nobody reads its output: not that all is well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.output import UNREAD_STATUS, note, show

SAYS_SOMETHING = "from appliance.cli.output import show; show({}, ('spk_',), as_json=0)"


def run_unread(program: str, *arguments: str, both: bool = False) -> tuple[int, str]:
    """Run Python with a pipe as stdout, and as stderr, whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer if both else subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    return done.returncode, (done.stderr or b"").decode()


def guarded(body: str) -> str:
    return (
        "import sys\n"
        "from appliance.cli.output import guarded\n"
        f"def run():\n    {body}\n    return 0\n"
        "sys.exit(guarded(run, as_json=False))\n"
    )


@pytest.mark.parametrize(
    "body",
    [SAYS_SOMETHING, "print('x' * 100_000)"],
    ids=["shown", "printed"],
)
def test_output_that_nobody_reads_has_a_status_of_its_own(body: str) -> None:
    status, said = run_unread(guarded(body))
    assert status == UNREAD_STATUS == 128 + 13
    assert said.startswith("sallyport: ")
    assert said.count("\n") == 1


def test_messages_that_nobody_reads_do_not_end_in_success_or_a_traceback() -> None:
    refusal = "from bundleformat.errors import UsageError; raise UsageError('')"
    assert run_unread(guarded(refusal), both=True)[0] == UNREAD_STATUS
    assert run_unread(guarded(SAYS_SOMETHING), both=True)[0] == UNREAD_STATUS


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("key", "create", "--help")]
)
def test_a_whole_command_that_nobody_reads_is_not_done(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    program = "import sys; from appliance.cli import main; sys.exit(main())"
    home = ("--home", str(tmp_path))
    status, said = run_unread(program, *home, *arguments)
    assert status == UNREAD_STATUS
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_what_a_command_quotes_cannot_drive_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "stick.mbundle\x1b[2J\r\u202e\x9b1A\nverified: every byte"
    show({}, (hostile,), as_json=False)
    show({"label": hostile}, (), as_json=True)
    note(hostile)
    out, err = capsys.readouterr()
    lines = (*out.splitlines(), *err.splitlines())
    assert [line.isprintable() for line in lines] == [True, True, True]
