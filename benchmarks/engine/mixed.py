"""A long prompt arrives among eight streams: the longest gap that the streams see."""

import asyncio
from collections.abc import Mapping

from benchmarks.engine.client import ask
from benchmarks.engine.crowd import prompt
from benchmarks.engine.models import large_model
from benchmarks.engine.peers import peers
from benchmarks.engine.servers import Load, Server, llama_server, sallyport
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result

STREAMS = 8
LONG_WORDS = 3_300
"""Words that Qwen 2's tokenizer makes about six thousand tokens of."""
LONG_TOKENS = 4
STREAM_TOKENS = 96
TARGET_S = 0.8
"""Our ``step_ms``, chosen above what a step of eight answers takes here."""


def run(plan: Plan) -> Result:
    """Measure both servers in turns."""
    found = peers()
    model = large_model(plan.scratch, found)
    load = Load(
        model=model,
        slots=STREAMS + 1,
        cells=9 * 8_192,
        extra=f"step_ms = {int(TARGET_S * 1_000)}\n",
    )
    counter = iter(range(1_000_000))
    words = plan.amount(LONG_WORDS)

    def measure(server: Server, name: str) -> Mapping[str, float]:
        gap_s = asyncio.run(_longest_gap(server, words, seed=next(counter)))
        return {f"{name}_s": gap_s}

    with (
        sallyport(plan.scratch / "ours", load) as ours,
        llama_server(found, load) as theirs,
    ):
        rounds = measure_rounds(
            lambda: measure(theirs, "theirs"),
            [lambda: measure(ours, "ours")],
            repetitions=plan.repetitions,
        )
    gaps = rounds.of("ours_s")
    return Result(
        name="engine_mixed",
        title="a prompt of about 6,000 tokens arrives among 8 streams",
        ratios=(
            Figure(
                name="our longest gap over the target",
                values=tuple(gap / TARGET_S for gap in gaps),
            ),
            Figure(
                name="our longest gap over llama-server's",
                values=rounds.ratio("ours_s", "theirs_s"),
            ),
        ),
        context=(
            Figure(name="ours", values=gaps, unit="s"),
            Figure(name="llama-server", values=rounds.of("theirs_s"), unit="s"),
        ),
        noise=Figure(
            name="noise: llama-server again over itself",
            values=rounds.noise("theirs_s"),
        ),
        notes=(f"step_ms = {int(TARGET_S * 1_000)}",),
    )


async def _longest_gap(server: Server, words: int, *, seed: int) -> float:
    """Return the longest wait for a token while the long prompt was computed."""
    streams = [
        asyncio.ensure_future(
            ask(server, prompt(8, seed=1_000 * seed + user), tokens=STREAM_TOKENS)
        )
        for user in range(STREAMS)
    ]
    await asyncio.sleep(4)
    long = await ask(server, prompt(words, seed=seed), tokens=LONG_TOKENS)
    answers = await asyncio.gather(*streams)
    return max(
        after - before
        for answer in answers
        for before, after in zip(answer.stamps, answer.stamps[1:], strict=False)
        if after > long.asked_s and before < long.ended_s
    )
