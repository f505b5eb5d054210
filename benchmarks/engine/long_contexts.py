"""Four long contexts at once on a cache for two: how many of them end well."""

import asyncio
from collections.abc import Mapping

from benchmarks.engine.client import OK, Answer, ask
from benchmarks.engine.crowd import prompt
from benchmarks.engine.models import small_model
from benchmarks.engine.peers import peers
from benchmarks.engine.servers import Load, Server, llama_server, sallyport
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result

USERS = 4
CELLS = 8_192
TOKENS = 400
WORDS = 640
"""Words that make about three thousand tokens, of which the cache holds two."""


def run(plan: Plan) -> Result:
    """Measure both servers in turns, with a cache that all requests share."""
    found = peers()
    load = Load(
        model=small_model(plan.scratch), slots=USERS, cells=CELLS, context_tokens=CELLS
    )
    counter = iter(range(1_000_000))

    def measure(server: Server, name: str) -> Mapping[str, float]:
        answers = asyncio.run(_together(server, seed=next(counter)))
        well = [each for each in answers if _ended_well(each)]
        last_s = max((each.ended_s for each in well), default=0.0)
        return {
            f"{name}_well": len(well),
            f"{name}_s": last_s - min(each.asked_s for each in answers),
            f"{name}_tokens": max(each.prompt_tokens for each in answers),
        }

    with (
        sallyport(plan.scratch / "ours", load) as ours,
        llama_server(found, load, "--kv-unified") as theirs,
    ):
        rounds = measure_rounds(
            lambda: measure(ours, "ours"),
            [lambda: measure(theirs, "theirs")],
            repetitions=plan.repetitions,
        )
    return Result(
        name="engine_long_contexts",
        title=f"{USERS} long contexts at once on a cache for two",
        ratios=(
            Figure(
                name="answers that ended well, of those asked for: ours",
                values=tuple(well / USERS for well in rounds.of("ours_well")),
            ),
            Figure(
                name="answers that ended well, of those asked for: llama-server",
                values=tuple(well / USERS for well in rounds.of("theirs_well")),
            ),
        ),
        context=(
            Figure(
                name="ours, to the last answer", values=rounds.of("ours_s"), unit="s"
            ),
            Figure(
                name="tokens of a prompt",
                values=rounds.of("ours_tokens"),
                unit="tokens",
            ),
        ),
        noise=Figure(
            name="noise: our time again over itself", values=rounds.noise("ours_s")
        ),
        notes=(
            f"{CELLS} cells, {TOKENS} new tokens each",
            "llama-server with --kv-unified: a slot may be as long as the cache",
        ),
    )


async def _together(server: Server, *, seed: int) -> list[Answer]:
    prompts = [prompt(WORDS, seed=100 * seed + user) for user in range(USERS)]
    return await asyncio.gather(*(ask(server, each, tokens=TOKENS) for each in prompts))


def _ended_well(answer: Answer) -> bool:
    return answer.status == OK and answer.tokens == TOKENS
