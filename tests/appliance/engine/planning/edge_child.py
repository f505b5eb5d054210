"""Starts an engine below a limit of the address space and fills its cache.

Arguments: the model, the limit, the margin. Prints one line of JSON. A program of
its own, because a limit of the address space cannot be raised again.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from appliance.engine.planning.ceilings import read_ceilings
from appliance.engine.planning.orders import load_order, margins
from appliance.engine.planning.planner import Planner
from appliance.engine.port import Message, Sampling
from appliance.engine.supervisor import EngineSupervisor
from appliance.engine.worker.vitals import read_vitals
from appliance.errors import InsufficientMemoryError
from appliance.settings import EngineSettings

REQUESTS, TOKENS = 12, 1_000
SAMPLING = Sampling(temperature=0, max_tokens=TOKENS)


async def run(model: Path, margin: int) -> dict[str, Any]:
    settings = EngineSettings.model_validate(
        {
            "threads": 1,
            "cells": 12_288,
            "context_tokens": 1_024,
            "sequences": REQUESTS,
            "spare_sequences": 0,
            "cached_sequences": 1,
            "spill_bytes": 0,
            "draft_tokens": 0,
            "batch_tokens": 128,
            "queue_timeout_s": 300,
            "memory_margin_bytes": margin,
        }
    )
    planner = Planner(margins(settings), read=read_ceilings)
    engine = EngineSupervisor(model, settings=settings, planner=planner)
    try:
        await engine.start()
    except InsufficientMemoryError as error:
        return {
            "code": error.code,
            "limit": error.limit,
            "needed_bytes": error.needed_bytes,
            "allowed_bytes": error.allowed_bytes,
            "loaded": engine.pid is not None,
        }
    try:
        counts = await asyncio.gather(
            *(answer(engine, str(number)) for number in range(REQUESTS))
        )
        _, footprint = await planner.measure(load_order([model], settings))
        vitals = read_vitals(Path(f"/proc/{engine.pid}/status"))
    finally:
        await engine.close()
    return {
        "code": "served",
        "tokens": sum(counts),
        "resident_bytes": vitals["VmRSS"],
        "planned_bytes": footprint.memory.host_bytes,
    }


async def answer(engine: EngineSupervisor, name: str) -> int:
    """Have one whole answer written; return its tokens."""
    messages = (Message(role="user", content=f"go on, {name}"),)
    ticket = await engine.prepare(
        name, tenant="red", messages=messages, sampling=SAMPLING
    )
    used = 0
    async for piece in engine.generate(ticket):
        used = piece.usage.completion_tokens if piece.usage else used
    return used


def main(arguments: list[str]) -> None:
    limit = int(arguments[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found = asyncio.run(run(Path(arguments[0]), int(arguments[2])))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
