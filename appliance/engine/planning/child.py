"""Asks a child process, one question at a time; see ``engine/launch.py``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from appliance.engine import protocol as wire
from appliance.engine.launch import Process
from appliance.errors import EngineUnavailableError, ProbeDiedError
from bundleformat.errors import LimitExceededError, MalformedError


class Child:
    """One child process; see :func:`open_child`."""

    def __init__(
        self,
        process: Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    async def ask(self, order: wire.Load, *, answer_s: float) -> wire.Report:
        """Return the answer to ``order``.

        Raises:
            ProbeDiedError: The child died on it.
            EngineUnavailableError: It refuses, hung, or answered nonsense.
        """
        try:
            async with asyncio.timeout(answer_s):
                self._writer.write(wire.encode(order))
                report = await self._receive()
        except TimeoutError as error:
            raise EngineUnavailableError(
                "a process that only measures did not answer in time"
            ) from error
        except (EOFError, ConnectionError) as error:
            status = await self._process.end()
            raise ProbeDiedError(
                process_status=status, where=order.model_paths[0]
            ) from error
        if isinstance(report, wire.LoadFailed):
            raise EngineUnavailableError(report.problem)
        return report

    async def _receive(self) -> wire.Report:
        try:
            head = await self._reader.readexactly(wire.LENGTH_BYTES)
            length = wire.check_length(int.from_bytes(head, "big"))
            return wire.decode_report(await self._reader.readexactly(length))
        except (LimitExceededError, MalformedError) as error:
            raise nonsense() from error


@contextlib.asynccontextmanager
async def open_child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """A child that runs ``module``; gone afterwards.

    Raises:
        EngineUnavailableError: The host cannot start a process.
    """
    process = Process(module, *arguments)
    writer = None
    try:
        reader, writer = await process.connect()
        yield Child(process, reader, writer)
    finally:
        await process.end()
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def nonsense() -> EngineUnavailableError:
    """Return the error of an answer that is none."""
    return EngineUnavailableError(
        "the answer of a process that only measures makes no sense"
    )
