"""One to thirty-two users: tokens per second against llama.cpp's own programs.

``llama-batched-bench`` decodes without a server, a queue, sampling or text: it is
the floor. ``llama-server`` is what our server is compared with: as many slots,
cells and threads, the same file, the same prompts, greedy.
"""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.crowd import crowd, prompt
from benchmarks.engine.models import large_model, small_model
from benchmarks.engine.peers import Peers, peers
from benchmarks.engine.servers import Load, Server, llama_server, sallyport
from benchmarks.measure import Plan
from benchmarks.report import Figure, Result

USERS = (1, 4, 8, 16, 32)
TOKENS = 64
PROMPT_WORDS = 16
CELLS = 16_384
SLOTS = 32

PLOTS = Path(__file__).resolve().parents[1] / "plots"
"""Where the plots are put."""

Point = Mapping[str, float]
"""What one number of users saw, by name of the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The servers of one model, all running."""

    ours: Server
    theirs: Server
    peers: Peers
    model: Path
    tokens: int


def run_large(plan: Plan) -> Result:
    """Measure the model of 0.4 billion parameters."""
    found = peers()
    return _run(plan, found, large_model(plan.scratch, found), name="large")


def run_small(plan: Plan) -> Result:
    """Measure the model of 20 million parameters."""
    return _run(plan, peers(), small_model(plan.scratch), name="small")


def _run(plan: Plan, found: Peers, model: Path, *, name: str) -> Result:
    # matplotlib comes with `.[bench]` alone: missed here, before anything is measured
    from benchmarks.engine.plot import plot_users  # noqa: PLC0415

    load = Load(model=model, slots=SLOTS, cells=CELLS)
    tokens = max(24, plan.amount(TOKENS))
    with (
        sallyport(plan.scratch / "ours", load) as ours,
        llama_server(found, load) as theirs,
    ):
        bench = Bench(ours=ours, theirs=theirs, peers=found, model=model, tokens=tokens)
        _point(bench, users=USERS[-1], seed=0)
        rounds = [
            {users: _point(bench, users=users, seed=number) for users in _order(number)}
            for number in range(1, plan.repetitions + 1)
        ]
    picture = PLOTS / f"engine-{name}.png"
    plot_users(picture, rounds, users=USERS, title=f"{model.stem}, 1 thread")
    return _result(name, rounds, picture)


def _order(number: int) -> tuple[int, ...]:
    return USERS if number % 2 else tuple(reversed(USERS))


def _point(bench: Bench, *, users: int, seed: int) -> Point:
    """Measure each program once with that many users."""
    first = 100_000 * seed + 1_000 * users
    prompts = [prompt(PROMPT_WORDS, seed=first + user) for user in range(users)]
    values: dict[str, float] = {"floor": _floor(bench, users)}
    for server, name in ((bench.ours, "ours"), (bench.theirs, "theirs")):
        seen = asyncio.run(crowd(server, prompts, tokens=bench.tokens))
        values[name] = seen.rate
        values[f"{name}_decode"] = seen.decode_rate
        values[f"{name}_first_s"] = seen.first_s
    values["floor_again"] = _floor(bench, users)
    return values


def _floor(bench: Bench, users: int) -> float:
    """Return tokens per second of bare decoding."""
    command = [str(bench.peers.batched_bench), "-m", str(bench.model)]
    command += ["-c", str(CELLS), "-b", "512", "-ub", "512", "-t", "1", "-tb", "1"]
    command += ["-npp", "64", "-ntg", str(bench.tokens), "-npl", str(users)]
    command += ["--output-format", "jsonl"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    line = next(each for each in ran.stdout.splitlines() if each.startswith("{"))
    return float(json.loads(line)["speed_tg"])


def _result(name: str, rounds: list[dict[int, Point]], picture: Path) -> Result:
    ratios = []
    for users in USERS:
        for title, over, under in (
            ("decode over llama-batched-bench", "ours_decode", "floor"),
            ("output tokens/s over llama-server", "ours", "theirs"),
            ("time to first token over llama-server", "ours_first_s", "theirs_first_s"),
        ):
            values = tuple(each[users][over] / each[users][under] for each in rounds)
            ratios.append(Figure(name=f"{users} users: {title}", values=values))
    ratios += [_no_collapse(rounds, "ours"), _no_collapse(rounds, "theirs")]
    context = [
        Figure(
            name=f"{users} users: {who}",
            values=tuple(each[users][who] for each in rounds),
            unit="tok/s",
        )
        for users in USERS
        for who in ("ours", "theirs", "floor")
    ]
    noise = tuple(
        each[users]["floor_again"] / each[users]["floor"]
        for each in rounds
        for users in USERS
    )
    return Result(
        name=f"engine_{name}",
        title="our whole server, llama-server and bare decoding, 1 to 32 users",
        ratios=tuple(ratios),
        context=tuple(context),
        noise=Figure(name="noise: the floor again over itself", values=noise),
        notes=(
            f"{SLOTS} slots, {CELLS} cells, 1 compute thread, greedy, Q8_0",
            f"plot: benchmarks/plots/{picture.name}",
        ),
    )


def _no_collapse(rounds: list[dict[int, Point]], who: str) -> Figure:
    values = tuple(
        each[USERS[-1]][who] / max(point[who] for point in each.values())
        for each in rounds
    )
    return Figure(name=f"32 users over the best point: {who}", values=values)
