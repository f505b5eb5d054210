"""Against the servers that come with llama-cpp-python: 1, 4 and 16 users.

``llama_cpp.server`` answers one request after the other; the example server
batches, in one process with its API.
"""

import asyncio
from collections.abc import Mapping

from benchmarks.engine.crowd import crowd, prompt
from benchmarks.engine.models import small_model
from benchmarks.engine.peers import peers
from benchmarks.engine.servers import (
    Load,
    Server,
    batch_example,
    llama_cpp_server,
    sallyport,
)
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result

USERS = (1, 4, 16)
TOKENS = 48
NAMES = ("ours", "single", "example")


def run(plan: Plan) -> Result:
    """Measure the three servers in turns."""
    found = peers()
    load = Load(model=small_model(plan.scratch), slots=16, cells=16_384)
    with (
        sallyport(plan.scratch / "ours", load) as ours,
        llama_cpp_server(load) as single,
        batch_example(plan.scratch, found, load) as example,
    ):
        servers = dict(zip(NAMES, (ours, single, example), strict=True))
        seeds = iter(range(0, 10**9, 1_000))

        def measure(name: str) -> Mapping[str, float]:
            return {
                f"{name}_{users}": _rate(servers[name], users, next(seeds))
                for users in USERS
            }

        rounds = measure_rounds(
            lambda: measure("single"),
            [lambda: measure("ours"), lambda: measure("example")],
            repetitions=plan.repetitions,
        )
    ratios = [
        Figure(
            name=f"{users} users: output tokens/s over {title}",
            values=rounds.ratio(f"ours_{users}", f"{name}_{users}"),
        )
        for users in USERS
        for name, title in (
            ("single", "llama_cpp.server"),
            ("example", "the example batching server"),
        )
    ]
    return Result(
        name="engine_python",
        title="our whole server and those of llama-cpp-python",
        ratios=tuple(ratios),
        context=tuple(
            Figure(
                name=f"{users} users: {name}",
                values=rounds.of(f"{name}_{users}"),
                unit="tok/s",
            )
            for users in USERS
            for name in NAMES
        ),
        noise=Figure(
            name="noise: llama_cpp.server again over itself",
            values=rounds.noise("single_1"),
        ),
    )


def _rate(server: Server, users: int, seed: int) -> float:
    prompts = [prompt(24, seed=seed + user) for user in range(users)]
    return asyncio.run(crowd(server, prompts, tokens=TOKENS)).rate
