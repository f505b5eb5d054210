"""Streamed completions through the real server, against its engine alone.

The floor drives :class:`EngineSupervisor` in this process: the same engine
process, model, settings, prompts and seeds, without HTTP, authentication,
policy or ledger. The subject asks ``sallyport serve`` over a socket. One at a
time shows what the gateway adds; eight at once shows what batching gives back.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from appliance.engine.port import Message, Sampling
from appliance.engine.supervisor import EngineSupervisor
from appliance.settings import EngineSettings
from benchmarks.chat_client import ChatClient
from benchmarks.measure import Measure, Plan, Rounds, measure_rounds
from benchmarks.report import Figure, Result
from tests.support.demo_engine import DEMO_MODEL
from tests.support.real_host import commission, serving

STREAMS = 8
"""Conversations of one measurement: one after another, or all at once."""

QUESTIONS_EACH = 4
"""Completions of each conversation, one after another."""

MAX_TOKENS = 96
"""Most tokens of one completion; the model's answers are shorter and end."""

SETTINGS = EngineSettings(threads=1)
"""Limits of both engines. One compute thread leaves a core to everything else."""

TOML = "[engine]\nthreads = 1\n"
"""The same for the server's."""

SAMPLING = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
"""Greedy: the same answers, word for word, alone and together."""

QUESTIONS = (
    "What is a bundle?",
    "What is a chunk?",
    "What is a checkpoint?",
    "Who reads the ledger?",
    "What is the manifest?",
    "Why are there two doors?",
    "What does the operator carry?",
    "What is a generation?",
)
"""Asked in turn; conversation ``n`` begins with question ``n``."""

Ask = Callable[[str], Awaitable[int]]
"""Has one completion generated; returns its tokens."""


def run(plan: Plan) -> Result:
    """Measure the server and the bare engine in turns."""
    each = plan.amount(QUESTIONS_EACH)
    host = commission(plan.scratch, models=[("demo", DEMO_MODEL)], settings=TOML)
    engine = EngineSupervisor(DEMO_MODEL, settings=SETTINGS)
    # One loop in this one thread: the engine dies with the thread that started it.
    with serving(host) as server, asyncio.Runner() as runner:
        runner.run(engine.start())
        try:
            bare = _Engine(engine=engine).ask
            client = ChatClient(url=server.url, key=server.key)
            http = partial(_ask_over_http, client)
            rounds = measure_rounds(
                _measure(runner, "engine_1", ask=bare, together=False, each=each),
                [
                    _measure(runner, "http_1", ask=http, together=False, each=each),
                    _measure(runner, "engine_8", ask=bare, together=True, each=each),
                    _measure(runner, "http_8", ask=http, together=True, each=each),
                ],
                repetitions=plan.repetitions,
            )
        finally:
            runner.run(engine.close())
    return _result(rounds)


@dataclass
class _Engine:
    """The floor: the engine's own port, called directly."""

    engine: EngineSupervisor
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def ask(self, question: str) -> int:
        ticket = await self.engine.prepare(
            f"bench-{next(self._numbers)}",
            tenant="claims",
            messages=(Message(role="user", content=question),),
            sampling=SAMPLING,
        )
        tokens = 0
        async for piece in self.engine.generate(ticket):
            if piece.usage is not None:
                tokens = piece.usage.completion_tokens
        return tokens


async def _ask_over_http(client: ChatClient, question: str) -> int:
    return await client.complete(
        {
            "model": "demo",
            "messages": [{"role": "user", "content": question}],
            "temperature": SAMPLING.temperature,
            "max_tokens": SAMPLING.max_tokens,
        }
    )


def _measure(
    runner: asyncio.Runner, name: str, *, ask: Ask, together: bool, each: int
) -> Measure:
    """Return what holds every conversation, and gives its time per token."""

    def measure() -> Mapping[str, float]:
        began = time.perf_counter()
        tokens = runner.run(_converse_all(ask, together=together, each=each))
        elapsed = time.perf_counter() - began
        completions = STREAMS * each
        return {
            f"{name}_token_s": elapsed / tokens,
            f"{name}_completion_s": elapsed / completions,
            f"{name}_length": tokens / completions,
        }

    return measure


async def _converse_all(ask: Ask, *, together: bool, each: int) -> int:
    """Return the tokens of every conversation."""
    if together:
        talks = (_converse(ask, first=n, each=each) for n in range(STREAMS))
        return sum(await asyncio.gather(*talks))
    return sum([await _converse(ask, first=n, each=each) for n in range(STREAMS)])


async def _converse(ask: Ask, *, first: int, each: int) -> int:
    numbers = range(first, first + each)
    return sum([await ask(QUESTIONS[n % len(QUESTIONS)]) for n in numbers])


def _result(rounds: Rounds) -> Result:
    pairs = (
        ("1 stream: server / engine", "http_1", "engine_1"),
        (f"{STREAMS} streams: server / engine", "http_8", "engine_8"),
        (f"batching gain, server: {STREAMS} in turn / together", "http_1", "http_8"),
        (
            f"batching gain, engine: {STREAMS} in turn / together",
            "engine_1",
            "engine_8",
        ),
    )
    return Result(
        name="gateway",
        title="streamed completions over HTTP, against the engine alone",
        ratios=tuple(
            Figure(
                name=label,
                values=rounds.ratio(f"{over}_token_s", f"{under}_token_s"),
            )
            for label, over, under in pairs
        ),
        context=_context(rounds),
        noise=Figure(
            name="noise: engine / engine, 1 stream",
            values=rounds.noise("engine_1_token_s"),
        ),
        notes=(
            "ratios are of the time per generated token: fewer tokens are not speed",
            "the model has 1.4 M parameters: it hides nothing of the gateway's cost",
        ),
    )


def _context(rounds: Rounds) -> tuple[Figure, ...]:
    return (
        *(
            Figure(
                name=f"added by the server, {_streams(streams)}, per {what}",
                values=tuple(
                    1000 * seconds
                    for seconds in rounds.difference(
                        f"http_{streams}_{what}_s", f"engine_{streams}_{what}_s"
                    )
                ),
                unit="ms",
            )
            for what in ("token", "completion")
            for streams in (1, STREAMS)
        ),
        *(
            Figure(
                name=f"{where}, {_streams(streams)}",
                values=tuple(
                    1 / each for each in rounds.of(f"{key}_{streams}_token_s")
                ),
                unit="tokens per s",
            )
            for where, key in (("engine", "engine"), ("server", "http"))
            for streams in (1, STREAMS)
        ),
        Figure(
            name="length of a completion, server",
            values=rounds.of("http_1_length"),
            unit="tokens",
        ),
    )


def _streams(number: int) -> str:
    return "1 stream" if number == 1 else f"{number} streams"
