"""Three hundred requests at once: refused at once, streams flow, nothing is lost."""

import asyncio
import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.engine.client import OK, Answer, ask, chat_message
from benchmarks.engine.crowd import prompt
from benchmarks.engine.models import small_model
from benchmarks.engine.servers import Load, Server, sallyport
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result
from tests.support.flood import flood

REQUESTS = 300
STREAMS = 4
TOKENS = 32
STREAM_TOKENS = 400
FULL = 503
LIMIT_S = 120.0


def run(plan: Plan) -> Result:
    """Measure a quiet server's streams, and the same streams under the flood."""
    load = Load(model=small_model(plan.scratch), slots=16, cells=32_768)
    with sallyport(plan.scratch / "ours", load) as server:
        rounds = measure_rounds(
            lambda: asyncio.run(_quiet(server)),
            [lambda: asyncio.run(_flooded(server))],
            repetitions=plan.repetitions,
        )
    return Result(
        name="engine_overload",
        title=f"{REQUESTS} requests at once beside {STREAMS} streams",
        ratios=(
            Figure(
                name="longest gap of a stream, flooded over quiet",
                values=rounds.ratio("gap_s", "quiet_gap_s"),
            ),
        ),
        context=(
            Figure(name="refused p50", values=rounds.of("p50_ms"), unit="ms"),
            Figure(name="refused p99", values=rounds.of("p99_ms"), unit="ms"),
            Figure(name="refused", values=rounds.of("refused"), unit="requests"),
            Figure(name="answered", values=rounds.of("answered"), unit="requests"),
            Figure(name="neither", values=rounds.of("lost"), unit="requests"),
            Figure(name="longest gap", values=rounds.of("gap_s"), unit="s"),
            Figure(name="memory of the gateway", values=rounds.of("mib"), unit="MiB"),
        ),
        noise=Figure(
            name="noise: quiet gap again over itself",
            values=rounds.noise("quiet_gap_s"),
        ),
        notes=("a refusal is timed from when its connection is asked for",),
    )


async def _streams(server: Server) -> list["asyncio.Task[Answer]"]:
    tasks = [
        asyncio.create_task(ask(server, prompt(8, seed=user), tokens=STREAM_TOKENS))
        for user in range(STREAMS)
    ]
    await asyncio.sleep(0.5)
    return tasks


async def _quiet(server: Server) -> Mapping[str, float]:
    answers = await asyncio.gather(*(await _streams(server)))
    return {"quiet_gap_s": max(max(answer.gaps_s) for answer in answers)}


async def _flooded(server: Server) -> Mapping[str, float]:
    streams = await _streams(server)
    # A loop of coroutines takes longer to send all of them than to refuse them.
    requests = [
        chat_message(server, prompt(8, seed=user), tokens=TOKENS)
        for user in range(REQUESTS)
    ]
    found = await asyncio.to_thread(flood, server.url, requests, limit_s=LIMIT_S)
    running = await asyncio.gather(*streams)
    refused = sorted(1_000 * each.latency_s for each in found if each.status == FULL)
    answered = sum(each.status == OK and b"[DONE]" in each.body for each in found)
    return {
        "gap_s": max(max(answer.gaps_s) for answer in running),
        "p50_ms": statistics.median(refused),
        "p99_ms": refused[int(0.99 * (len(refused) - 1))],
        "refused": len(refused),
        "answered": answered,
        "lost": REQUESTS - len(refused) - answered,
        "mib": _resident_mib(server.pid),
    }


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4_096 / 2**20
