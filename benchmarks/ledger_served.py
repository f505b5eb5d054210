"""What the ledger adds to a call: our server against itself without one.

Both serve the same small model; sixteen callers ask for one token again and again,
so that next to nothing hides what two durable records cost.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.chat_client import ChatClient
from benchmarks.measure import Plan, Rounds, measure_rounds, p50
from benchmarks.report import Figure, Result
from tests.support.demo_engine import DEMO_MODEL
from tests.support.real_host import RealHost, commission, serving

CALLERS = 16
"""Who ask at once in the crowded case."""

CALLS = 25
"""Calls of each caller in one measurement."""

TOML = "[engine]\nthreads = 1\n"

NULL = ("-m", "benchmarks.null_ledger")
"""The program without a ledger."""


def run(plan: Plan) -> Result:
    """Measure both servers in turns."""
    calls = plan.amount(CALLS)
    with ExitStack() as stack:
        hosts = {}
        for name in ("null", "ledger"):
            host = commission(
                plan.scratch / name, models=[("demo", DEMO_MODEL)], settings=TOML
            )
            if name == "null":
                host.program = NULL
            hosts[name] = stack.enter_context(serving(host))
        subjects = [
            _Asked(name=name, host=host, callers=callers, calls=calls)
            for name, host in hosts.items()
            for callers in (1, CALLERS)
        ]
        floor, *others = (subject.measure for subject in reversed(subjects[:2]))
        rounds = measure_rounds(
            floor,
            [*others, *(subject.measure for subject in subjects[2:])],
            repetitions=plan.repetitions,
        )
    return _result(rounds)


@dataclass
class _Asked:
    """A server that some callers ask, each one call after another."""

    name: str
    host: RealHost
    callers: int
    calls: int
    _taken: list[float] = field(default_factory=list)

    def measure(self) -> Mapping[str, float]:
        self._taken.clear()
        began = time.perf_counter()
        asyncio.run(self._ask_all())
        elapsed = time.perf_counter() - began
        return {
            f"{self.name}_{self.callers}_p50_s": p50(self._taken),
            f"{self.name}_{self.callers}_call_s": elapsed / len(self._taken),
        }

    async def _ask_all(self) -> None:
        client = ChatClient(url=self.host.url, key=self.host.key)
        await asyncio.gather(*(self._ask(client) for _ in range(self.callers)))

    async def _ask(self, client: ChatClient) -> None:
        for _ in range(self.calls):
            before = time.perf_counter()
            await client.complete(
                {
                    "model": "demo",
                    "messages": [{"role": "user", "content": "What is a chunk?"}],
                    "temperature": 0.0,
                    "max_tokens": 1,
                }
            )
            self._taken.append(time.perf_counter() - before)


def _result(rounds: Rounds) -> Result:
    ratios, context = [], []
    for callers in (1, CALLERS):
        said = f"{callers} caller{'s' if callers > 1 else ''}"
        ledger, null = f"ledger_{callers}", f"null_{callers}"
        ratios += [
            Figure(
                name=f"{said}: calls per second with a ledger, over none",
                values=rounds.ratio(f"{null}_call_s", f"{ledger}_call_s"),
            ),
            Figure(
                name=f"{said}: p50 of a call with a ledger, over none",
                values=rounds.ratio(f"{ledger}_p50_s", f"{null}_p50_s"),
            ),
        ]
        added = rounds.difference(f"{ledger}_p50_s", f"{null}_p50_s")
        context.append(
            Figure(
                name=f"{said}: added to the p50 of a call",
                values=tuple(1000 * each for each in added),
                unit="ms",
            )
        )
        for name, key in (("with a ledger", ledger), ("without", null)):
            context += [
                Figure(
                    name=f"{said}: {name}",
                    values=tuple(1 / each for each in rounds.of(f"{key}_call_s")),
                    unit="calls/s",
                ),
                Figure(
                    name=f"{said}: p50 {name}",
                    values=tuple(1000 * each for each in rounds.of(f"{key}_p50_s")),
                    unit="ms",
                ),
            ]
    return Result(
        name="ledger_served",
        title="calls of one token, with the ledger and without",
        ratios=tuple(ratios),
        context=tuple(context),
        noise=Figure(
            name=f"noise: without a ledger, {CALLERS} callers, again over itself",
            values=rounds.noise(f"null_{CALLERS}_p50_s"),
        ),
        notes=("every call leaves two records, each durable before it goes on",),
    )
