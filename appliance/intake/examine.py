"""Has a model examined by a child process that has nothing to lose.

The child reads the GGUF header and tries the chat template. It gets open files,
those of all parts of a split model, and no name; this side gets one short answer,
or takes the lack of one for a no. Nothing of the model is parsed in this process.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import appliance
from appliance.intake.answer import read_answer
from appliance.intake.confine import CPU_S
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    StorageFaultError,
)
from bundleformat.gguf import ModelFacts

TIMEOUT_S = 2.0 * CPU_S
"""How long one examination may take. Unit: seconds of wall-clock time."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Longest answer: a chat template of the largest size, escaped. Unit: bytes."""

COMMAND = (sys.executable, "-P", "-m", "appliance.intake.examiner")
"""The program that examines. ``-P`` keeps the current folder out of its path."""


def examine_model(
    *paths: Path,
    where: str,
    command: tuple[str, ...] = COMMAND,
    timeout_s: float = TIMEOUT_S,
) -> ModelFacts:
    """Return the facts of a model, read by a confined child.

    ``paths`` are its file or all parts of a split one, in their order; ``where``
    names the model in errors.

    Raises:
        MalformedError: The header or the chat template is not acceptable.
        LimitExceededError: It is beyond a limit, of time and memory as well.
        StorageFaultError: A file cannot be opened.
        InternalFaultError: The child died without an answer, or gave none that
            makes sense. The caller MUST treat the model as not examined.
    """
    answer = ask_examiner(paths, command, where=where, timeout_s=timeout_s)
    return read_answer(answer, model=where)


def ask_examiner(
    paths: Sequence[Path],
    command: tuple[str, ...],
    *,
    where: str,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Return what a confined child answers about the files at ``paths``.

    The first is its standard input, the numbers of the others its last arguments.

    Raises:
        LimitExceededError: It took too long.
        StorageFaultError: A file cannot be opened.
        InternalFaultError: It died, could not be started, or says too much. The
            caller MUST treat what it was to examine as not examined.
    """
    child = _start(paths, command, where=where)
    try:
        answer = _read_answer(child, where=where, timeout_s=timeout_s)
        status = child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise _took_too_long(where, timeout_s) from error
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    if status == -signal.SIGXCPU:
        raise _took_too_long(where, CPU_S)
    if status != 0:
        raise InternalFaultError(
            "the examiner died",
            where=where,
            actual=f"exit status {status}",
            hint="Import again; if it dies again, do not use this bundle.",
        )
    return answer


def _start(
    paths: Sequence[Path], command: tuple[str, ...], *, where: str
) -> "subprocess.Popen[bytes]":
    with contextlib.ExitStack() as stack:
        first, *others = (stack.enter_context(_opened(each)) for each in paths)
        numbers = [file.fileno() for file in others]
        try:
            return subprocess.Popen(
                (*command, *map(str, numbers)),
                stdin=first,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=numbers,
                env={"PYTHONPATH": str(Path(appliance.__file__).parent.parent)},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise InternalFaultError(
                "the examiner cannot be started", where=where, actual=str(error)
            ) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise StorageFaultError(
            "cannot be opened", where=str(path), actual=error.strerror or ""
        ) from error


def _read_answer(
    child: "subprocess.Popen[bytes]", *, where: str, timeout_s: float
) -> bytes:
    if child.stdout is None:
        raise InternalFaultError("the examiner has no output", where=where)
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            rest_s = deadline - time.monotonic()
            if rest_s <= 0 or not selector.select(rest_s):
                raise _took_too_long(where, timeout_s)
            block = os.read(child.stdout.fileno(), 65_536)
            if not block:
                return bytes(answer)
            answer += block
            if len(answer) > MAX_ANSWER_BYTES:
                raise InternalFaultError("the examiner says too much", where=where)


def _took_too_long(where: str, limit_s: float) -> LimitExceededError:
    return LimitExceededError(
        "the examination took too long",
        where=where,
        expected=f"at most {limit_s:g} seconds",
    )
