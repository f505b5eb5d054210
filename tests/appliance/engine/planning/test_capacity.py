"""How many users at which context, for models of real sizes that are not read."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.engine.planning.budget import Margins
from appliance.engine.planning.capacity import (
    Capacity,
    contexts_of,
    find_capacity,
    for_users,
)
from appliance.engine.planning.memory import Ceiling
from appliance.engine.planning.planner import Planner
from appliance.engine.planning.search import limited
from tests.appliance.engine.peer import LOAD
from tests.support.gguf_writer import TinyModel, family, write_hollow_model, write_model

pytestmark = pytest.mark.system

GIB = 2**30
LARGE = TinyModel(
    layers=32,
    embedding=4_096,
    heads=32,
    kv_heads=8,
    feed_forward=14_336,
    context=16_384,
    weights="f16",
)
"""A model of Llama's 8 B parameters, but for the vocabulary."""

ORDER = limited(LOAD, context_tokens=4_096, cells=16_384, sequences=8, batch_tokens=512)
MARGINS = Margins(host_bytes=2**24, gpu_bytes=2**24)


def capacity(path: Path, *, left_bytes: int, **limits: int) -> Capacity:
    def read() -> Sequence[Ceiling]:
        return (Ceiling(name="made up", left_bytes=left_bytes),)

    order = limited(replace(ORDER, model_paths=(str(path),)), **limits)
    planner = Planner(MARGINS, read=read)
    return asyncio.run(find_capacity(planner, order, most_users=40))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hollow_model(tmp_path_factory.mktemp("large") / "l.gguf", LARGE)


def test_a_model_larger_than_the_machine_fits_nobody(large: Path) -> None:
    found = capacity(large, left_bytes=8 * GIB)
    assert found.short
    assert found.fitting is None
    assert {row.most_users for row in found.rows} == {0}
    assert not any(case.fits for row in found.rows for case in row.cases)


def test_users_and_contexts_are_traded_for_each_other(large: Path) -> None:
    began = time.monotonic()
    found = capacity(large, left_bytes=17 * GIB)
    assert time.monotonic() - began < 30
    weights = found.footprint.memory.host.weights_bytes
    assert large.stat().st_size == pytest.approx(weights, rel=0.01)
    # 128 KiB a token: 32 layers, 8 heads of 128 elements, keys and values of 2 bytes.
    assert found.footprint.memory.host.cache_bytes == 16_384 * 128 * 1_024
    assert not found.short
    assert [row.context_tokens for row in found.rows] == [
        1_024 * 2**power for power in range(5)
    ]
    most = [row.most_users for row in found.rows]
    assert most == sorted(most, reverse=True)
    assert 0 < most[-1] < most[0]
    for row in found.rows:
        sizes = [case.total_bytes for case in row.cases]
        assert sizes == sorted(sizes)
        assert all(case.fits == (case.users <= row.most_users) for case in row.cases)


def test_what_does_not_fit_comes_with_what_does(large: Path) -> None:
    found = capacity(large, left_bytes=15 * GIB, cells=131_072)
    assert found.short[0].needed_bytes > 15 * GIB
    assert found.fitting is not None
    assert 4_096 <= found.fitting.limits.cells < 131_072


def test_a_model_that_makes_vectors_has_no_users_to_count(tmp_path: Path) -> None:
    found = capacity(write_model(tmp_path / "b.gguf", family("bert")), left_bytes=GIB)
    assert found.footprint.vectors
    assert found.rows == ()
    assert not found.short


def test_cells_are_for_all_users_and_one_of_another_team() -> None:
    order = limited(ORDER, spare_sequences=1)
    for users, context in ((1, 1_000), (6, 4_096), (7, 512), (20, 8_192)):
        limits = for_users(order, users=users, context_tokens=context).limits
        assert (limits.sequences, limits.context_tokens) == (users, context)
        assert limits.cells - limits.spare_cells >= users * context
        assert limits.cells % 256 == 0
        assert limits.batch_tokens >= 2 * users
    alone = for_users(ORDER, users=3, context_tokens=512).limits
    assert alone.cells == 3 * 512


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (512, [512]),
        (1_024, [1_024]),
        (3_000, [1_024, 2_048, 3_000]),
        (2**24, [1_024 * 2**power for power in range(8)]),
    ],
)
def test_contexts_end_at_what_the_model_was_trained_for(
    trained: int, expected: list[int]
) -> None:
    assert list(contexts_of(trained)) == expected
