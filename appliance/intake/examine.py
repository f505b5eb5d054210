"""Has a model examined by a child process that has nothing to lose.

The child reads the GGUF header and tries the chat template. It gets the open
file and no name; this side gets one short answer, or takes the lack of one for
a no. Nothing of the model is parsed in this process.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import appliance
from appliance.intake.answer import read_answer
from appliance.intake.confine import CPU_S
from bundleformat.errors import InternalFaultError, LimitExceededError
from bundleformat.gguf import ModelFacts

TIMEOUT_S = 2.0 * CPU_S
"""How long one examination may take. Unit: seconds of wall-clock time."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Longest answer: a chat template of the largest size, escaped. Unit: bytes."""

COMMAND = (sys.executable, "-P", "-m", "appliance.intake.examiner")
"""The program that examines. ``-P`` keeps the current folder out of its path."""


def examine_model(
    path: Path,
    *,
    where: str,
    command: tuple[str, ...] = COMMAND,
    timeout_s: float = TIMEOUT_S,
) -> ModelFacts:
    """Return the facts of the model at ``path``, read by a confined child.

    ``where`` names the model in errors.

    Raises:
        MalformedError: The header or the chat template is not acceptable.
        LimitExceededError: It is beyond a limit, of time and memory as well.
        InternalFaultError: The child died without an answer, or gave none that
            makes sense. The caller MUST treat the model as not examined.
    """
    child = _start(path, command, where=where)
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
            hint="Import again; if it dies again, do not use this model.",
        )
    return read_answer(answer, model=where)


def _start(
    path: Path, command: tuple[str, ...], *, where: str
) -> "subprocess.Popen[bytes]":
    try:
        with path.open("rb") as model:
            return subprocess.Popen(
                command,
                stdin=model,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": str(Path(appliance.__file__).parent.parent)},
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise InternalFaultError(
            "the examiner cannot be started", where=where, actual=str(error)
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
