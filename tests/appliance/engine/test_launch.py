"""Processes and their connections, of which there are several at once."""

import asyncio
from pathlib import Path

import pytest

from appliance.engine import protocol as wire
from appliance.engine.launch import Process
from appliance.engine.planning.orders import load_order
from appliance.settings import EngineSettings

pytestmark = pytest.mark.system


def test_a_process_that_is_ended_takes_no_others_connection_along(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        first = Process()
        _, writer = await first.connect()
        ending = asyncio.create_task(first.end())
        await asyncio.sleep(0)
        # Descriptors are numbered anew as soon as one is free.
        second = Process()
        reader, other = await second.connect()
        writer.close()
        await ending
        await writer.wait_closed()
        no_model = (tmp_path / "none.gguf",)
        other.write(wire.encode(load_order(no_model, EngineSettings(threads=1))))
        async with asyncio.timeout(30):
            head = await reader.readexactly(wire.LENGTH_BYTES)
            report = await reader.readexactly(int.from_bytes(head, "big"))
        assert isinstance(wire.decode_report(report), wire.LoadFailed)
        other.close()
        await second.end()
        await other.wait_closed()

    asyncio.run(run())
