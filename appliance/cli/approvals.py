"""What the commands have in common that take two people: asked first, then done."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.output import show
from appliance.clock import rfc3339
from bundleformat.approval import Ask
from bundleformat.errors import MalformedError, RefusalError, UsageError

AskFile = Annotated[
    Path | None,
    typer.Option(
        "--ask",
        metavar="<path>",
        help="Write what is to be approved to this new file, and do nothing else.",
        show_default=False,
    ),
]
ApprovalFile = Annotated[
    Path | None,
    typer.Option(
        "--approval",
        metavar="<path>",
        help="The approval that `sallyport-bundler site approve` made of it.",
        show_default=False,
    ),
]
ValidDays = Annotated[
    int,
    typer.Option(min=1, max=30, help="With --ask: days that an approval is of use."),
]


def asks(ask: Path | None, approval: Path | None) -> bool:
    """Return whether it is only asked for; else it is done."""
    if (ask is None) == (approval is None):
        raise UsageError(
            "this takes two people",
            where="--ask",
            expected="--ask FILE first, then the same with --approval FILE",
        )
    return ask is not None


def the_file(path: Path | None) -> Path:
    """Return the file of an option that was checked to be there."""
    if path is None:
        raise ValueError("one of two options was checked to be there")
    return path


def no_approval(error: MalformedError, path: Path) -> RefusalError:
    """Return what is said of a file that is no approval."""
    hint = "Name the file that `sallyport-bundler site approve` made."
    return error.inside(str(path)).advised(hint)


def show_ask(asked: Ask, path: Path, *, about: tuple[str, ...], as_json: bool) -> None:
    """Say what was asked for, and who is to do what next."""
    value = {
        "file": str(path),
        "ask": asked.nonce,
        "act": str(asked.act),
        "values": dict(asked.values),
        "facts": dict(asked.facts),
        "expires": rfc3339(asked.expires),
    }
    lines = (
        f"wrote {path}, which asks for {asked.act} until {rfc3339(asked.expires)}",
        *about,
        "the compliance officer, on another machine:",
        (
            f"  sallyport-bundler site approve {path.name} --key compliance.key"
            " --out approval.json"
        ),
        "and here, the same command with --approval approval.json",
    )
    show(value, lines, as_json=as_json)
