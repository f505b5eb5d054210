"""How the command line speaks: data on stdout, messages on stderr, exit statuses.

0 done, 1 a bug, 2 called wrongly, 3 refused, 4 the host failed, 130 interrupted,
141 nobody read the output to its end. A refusal reads
``sallyport: refused: digest-mismatch: c/ab/…: …`` and then ``hint: …``.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from bundleformat.errors import Error
from bundleformat.report import error_lines, json_line, printable

PROGRAM = "sallyport"
"""The name that begins every message."""

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells have it."""

UNREAD_STATUS = 141
"""Exit status when the reader of the output is gone: 128 and SIGPIPE, as of shells.

It is not 0, because what was to be read, a new key above all, may be lost.
"""


def show(value: dict[str, Any], lines: tuple[str, ...], *, as_json: bool) -> None:
    """Print ``value`` as one JSON line, or ``lines`` for reading.

    What is not printable is escaped: both may quote a medium, or a request.
    """
    if as_json:
        typer.echo(json_line(value))
        return
    for line in lines:
        typer.echo(printable(line))


def note(line: str) -> None:
    """Print a message that is not data, to stderr."""
    typer.echo(printable(line), err=True)


def table(
    headings: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """Return the rows as aligned lines under their headings."""
    widths = [
        max(len(row[index]) for row in (headings, *rows))
        for index in range(len(headings))
    ]
    return tuple(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (headings, *rows)
    )


def report(error: Error, *, as_json: bool) -> int:
    """Print ``error`` on stderr and return its exit status."""
    for line in error_lines(error, program=PROGRAM, as_json=as_json):
        note(line)
    return error.exit_status


def guarded(run: Callable[[], int], *, as_json: bool) -> int:
    """Run a command and return the exit status, whatever happens in it.

    The one place of this process where every exception ends: what is not in the
    error tree is a bug and is shown as one.
    """
    try:
        return _reported(run, as_json=as_json)
    except BrokenPipeError:
        return _unread()
    except SystemExit as error:
        # typer ends the process by itself when its own output finds no reader.
        if isinstance(error.__context__, BrokenPipeError):
            return _unread()
        raise


def _reported(run: Callable[[], int], *, as_json: bool) -> int:
    try:
        return run()
    except Error as error:
        return report(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        note(f"{PROGRAM}: interrupted; run the command again to go on")
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 - the top of the process: report a bug
        traceback.print_exc()
        note(f"{PROGRAM}: bug: please report the lines above")
        return 1


def _unread() -> int:
    """Say that the output went nowhere, and let nothing else be written to it.

    Source: Python's library reference, signal, "Note on SIGPIPE": what is still
    buffered would fail once more when the interpreter ends.
    """
    with contextlib.suppress(OSError):
        note(
            f"{PROGRAM}: nobody read the output to its end; what the command did, "
            "it did"
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return UNREAD_STATUS
