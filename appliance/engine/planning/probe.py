"""Asks a probe process what a load would take.

The gateway reads no byte of a model, not even to count. A probe that dies, hangs
or answers nonsense is a refusal of the model it was asked about: nobody loads it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from appliance.engine import protocol as wire
from appliance.engine.launch import PROBE, Process
from appliance.engine.planning.memory import Footprint
from appliance.errors import EngineUnavailableError, ProbeDiedError
from bundleformat.errors import LimitExceededError, MalformedError

ANSWER_S = 60.0
"""How long one answer may take; they take some hundredths. Unit: seconds."""

MAX_QUESTIONS = 512
"""Most questions that one probe is asked."""


class Probe:
    """One probe process; see :func:`open_probe`."""

    def __init__(
        self,
        process: Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._asked = 0

    async def measure(self, order: wire.Load) -> Footprint:
        """Return what ``order`` would take.

        Raises:
            ProbeDiedError: The probe died on it.
            EngineUnavailableError: llama.cpp cannot load it, or not like this; or
                the probe hung, or answered nonsense.
            LimitExceededError: It was asked too often.
        """
        self._asked += 1
        if self._asked > MAX_QUESTIONS:
            raise LimitExceededError(
                "a probe is asked too often", expected=f"at most {MAX_QUESTIONS} times"
            )
        try:
            async with asyncio.timeout(ANSWER_S):
                self._writer.write(wire.encode(order))
                report = await self._receive()
        except TimeoutError as error:
            raise EngineUnavailableError(
                "the memory probe did not answer in time"
            ) from error
        except (EOFError, ConnectionError) as error:
            status = await self._process.end()
            raise ProbeDiedError(
                process_status=status, where=order.model_paths[0]
            ) from error
        if isinstance(report, wire.Measured):
            return report.footprint
        if isinstance(report, wire.LoadFailed):
            raise EngineUnavailableError(report.problem)
        raise _nonsense()

    async def _receive(self) -> wire.Report:
        try:
            head = await self._reader.readexactly(wire.LENGTH_BYTES)
            length = wire.check_length(int.from_bytes(head, "big"))
            return wire.decode_report(await self._reader.readexactly(length))
        except (LimitExceededError, MalformedError) as error:
            raise _nonsense() from error


@contextlib.asynccontextmanager
async def open_probe(allowed_bytes: int) -> AsyncIterator[Probe]:
    """A probe that takes at most ``allowed_bytes`` itself; gone afterwards.

    Raises:
        EngineUnavailableError: The host cannot start a process.
    """
    process = Process(PROBE, str(allowed_bytes))
    writer = None
    try:
        reader, writer = await process.connect()
        yield Probe(process, reader, writer)
    finally:
        await process.end()
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _nonsense() -> EngineUnavailableError:
    return EngineUnavailableError("the memory probe's answer makes no sense")
