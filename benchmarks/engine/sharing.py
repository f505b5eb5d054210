"""Sixteen users with one system prompt of a thousand tokens: time to the last token."""

import asyncio
from collections.abc import Mapping

from benchmarks.engine.crowd import crowd, prompt
from benchmarks.engine.models import large_model
from benchmarks.engine.peers import peers
from benchmarks.engine.servers import Load, Server, llama_server, sallyport
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result

USERS = 16
TOKENS = 16
SYSTEM_WORDS = 560
"""Words that Qwen 2's tokenizer makes about a thousand tokens of."""


def run(plan: Plan) -> Result:
    """Measure both servers in turns, with a new system prompt each time."""
    found = peers()
    model = large_model(plan.scratch, found)
    load = Load(model=model, slots=USERS, cells=USERS * 1_536)
    counter = iter(range(1_000_000))

    def measure(server: Server, name: str) -> Mapping[str, float]:
        number = next(counter)
        system = prompt(plan.amount(SYSTEM_WORDS), seed=9_000 + number)
        prompts = [prompt(8, seed=100 * number + user) for user in range(USERS)]
        seen = asyncio.run(crowd(server, prompts, tokens=TOKENS, system=system))
        cached = max(answer.cached for answer in seen.answers)
        return {f"{name}_s": seen.whole_s, f"{name}_cached": cached}

    with (
        sallyport(plan.scratch / "ours", load) as ours,
        llama_server(found, load) as theirs,
    ):
        rounds = measure_rounds(
            lambda: measure(theirs, "theirs"),
            [lambda: measure(ours, "ours")],
            repetitions=plan.repetitions,
        )
    return Result(
        name="engine_sharing",
        title="16 users share a system prompt of about 1,000 tokens",
        ratios=(
            Figure(
                name="llama-server's time to the last token over ours",
                values=rounds.ratio("theirs_s", "ours_s"),
            ),
        ),
        context=(
            Figure(name="ours", values=rounds.of("ours_s"), unit="s"),
            Figure(name="llama-server", values=rounds.of("theirs_s"), unit="s"),
            Figure(
                name="tokens of one prompt that were not computed, ours",
                values=rounds.of("ours_cached"),
                unit="tokens",
            ),
        ),
        noise=Figure(
            name="noise: llama-server again over itself",
            values=rounds.noise("theirs_s"),
        ),
        notes=("each round has a system prompt that neither server has seen",),
    )
