"""Choices are measured on a real model by a contained process; refusals first."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.engine.planning.budget import Margins
from appliance.engine.planning.calibrate import ROUNDS, Calibration, calibrate
from appliance.engine.planning.choices import CANDIDATES, USUAL
from appliance.engine.planning.memory import Ceiling
from appliance.engine.planning.planner import Planner
from appliance.engine.planning.search import limited
from appliance.engine.protocol import Load
from appliance.errors import (
    InsufficientMemoryError,
    ProbeDiedError,
    UnsuitableModelError,
)
from tests.appliance.engine.peer import LOAD
from tests.support.demo_engine import DEMO_MODEL
from tests.support.gguf_writer import family, write_model

pytestmark = pytest.mark.system

MARGINS = Margins(host_bytes=2**24, gpu_bytes=2**24)
HOSTILE = Path(__file__).parents[3] / "vectors/reject/gguf/block-count-max.gguf"
ORDER = limited(
    replace(LOAD, model_paths=(str(DEMO_MODEL),)),
    context_tokens=512,
    cells=1_024,
    sequences=2,
)


def measure(order: Load = ORDER, *, left_bytes: int = 2**40) -> Calibration:
    def read() -> Sequence[Ceiling]:
        return (Ceiling(name="made up", left_bytes=left_bytes),)

    before = children()
    try:
        return asyncio.run(calibrate(Planner(MARGINS, read=read), order))
    finally:
        assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_model_that_kills_its_probe_is_not_measured() -> None:
    with pytest.raises(ProbeDiedError):
        measure(replace(ORDER, model_paths=(str(HOSTILE),)))


def test_a_model_that_makes_vectors_has_nothing_to_choose(tmp_path: Path) -> None:
    path = write_model(tmp_path / "b.gguf", family("bert"))
    with pytest.raises(UnsuitableModelError):
        measure(replace(ORDER, model_paths=(str(path),)))


def test_what_memory_is_too_short_for_is_not_loaded() -> None:
    with pytest.raises(InsufficientMemoryError):
        measure(left_bytes=2**24)


def test_every_choice_is_measured_as_often_and_told() -> None:
    told: list[tuple[int, int]] = []

    async def run() -> Calibration:
        planner = Planner(MARGINS)
        return await calibrate(
            planner, ORDER, progress=lambda done, of: told.append((done, of))
        )

    found = asyncio.run(run())
    assert tuple(each.choice for each in found.measured) == CANDIDATES
    assert found.left_out == ()
    turns = ROUNDS * len(CANDIDATES)
    assert told == [(number, turns) for number in range(turns + 1)]
    for each in found.measured:
        assert min(each.timing.prompt_s, each.timing.alone_s) > 0
        assert each.timing.together_s > 0
        assert each.timing.rows == 2
        # Half of the cache is filled, as far as one batch fills a sequence.
        assert each.timing.filled_cells >= 2 * 32


def test_a_choice_that_llama_cpp_cannot_make_is_left_out_and_told(
    tmp_path: Path,
) -> None:
    # Heads of 16 elements cannot be kept in blocks of 32.
    path = write_model(tmp_path / "m.gguf", family("llama"))
    found = measure(replace(ORDER, model_paths=(str(path),)))
    assert USUAL in [each.choice for each in found.measured]
    assert [choice.cache_type for choice, _ in found.left_out] == ["q8_0"]
    assert all(why for _, why in found.left_out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3", "mamba", "granitehybrid", "deepseek2"])
def test_other_families_can_be_measured(name: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", family(name))
    found = measure(replace(ORDER, model_paths=(str(path),)))
    assert USUAL in [each.choice for each in found.measured]
