"""What a probe predicts is what a load takes, in every family and in every shape."""

import dataclasses
import functools
import tempfile
from pathlib import Path

import llama_cpp.llama_cpp as native
import pytest
from msgspec.structs import replace

from appliance.engine.llama import footprint
from appliance.engine.llama.context import Context
from appliance.engine.llama.encoder import Encoder
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import (
    Parameters,
    context_params,
    vector_parameters,
)
from appliance.engine.planning.memory import Memory
from appliance.engine.scheduling.decoder import Slice, Undone
from appliance.engine.worker.load_vectors import vector_limits
from appliance.engine.worker.probe import Prober
from tests.appliance.engine.peer import LOAD
from tests.support.demo_engine import GREEDY
from tests.support.gguf_writer import FAMILIES, family, write_model

pytestmark = pytest.mark.system

GENERATING = sorted(FAMILIES.keys() - {"bert"})
TOLERANCE = 0.02
"""How far a prediction may be from what the loaded engine reports."""

SHAPES: dict[str, dict[str, object]] = {
    "usual": {},
    "one sequence": {"sequences": 1, "outputs": 1},
    "many cells": {"cells": 8_192},
    "small batch": {"batch_tokens": 64},
    "more outputs": {"outputs": 64},
    "no flash attention": {"flash_attention": "off"},
    "rounded cache": {"cache_type": "q8_0"},
    "parts": {"unified": False},
}


def parameters(**changes: object) -> Parameters:
    usual = Parameters(cells=4_096, sequences=8, outputs=8, batch_tokens=256, threads=1)
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


@functools.cache
def written(name: str, weights: str = "q8_0") -> str:
    """A model of a family, wide enough that its buffers are no rounding errors."""
    folder = Path(tempfile.mkdtemp())
    model = family(
        name, layers=4, embedding=256, feed_forward=512, weights=weights, context=2_048
    )
    return str(write_model(folder / f"{name}.gguf", model))


LIMITS = LOAD.limits


def load(path: str, chosen: Parameters, *, weights: bool) -> Model:
    return Model(path, parameters=chosen, weights=weights)


def predicted(path: str, chosen: Parameters) -> Memory:
    model = load(path, chosen, weights=False)
    opened = footprint.open_context(model.handle, chosen)
    assert footprint.is_exact(opened)
    found = footprint.memory_of(opened, LIMITS, exact=True)
    native.llama_free(opened.handle)
    native.llama_model_free(model.handle)
    return found


def work(context: Context, chosen: Parameters) -> None:
    """Fill the whole cache, batch by batch, and answer in every sequence at once."""
    share = chosen.cells // chosen.sequences - 1
    for sequence in range(chosen.sequences):
        context.open(sequence, sampling=GREEDY, max_new_tokens=1, generated=())
        for begin in range(0, share, chosen.batch_tokens):
            count = min(chosen.batch_tokens, share - begin)
            tokens = [index % 200 for index in range(count)]
            piece = Slice(
                sequence=sequence, position=begin, tokens=tokens, wants_token=False
            )
            assert not isinstance(context.decode([piece]), Undone)
    last = [
        Slice(sequence=number, position=share, tokens=[1], wants_token=True)
        for number in range(chosen.sequences)
    ]
    assert not isinstance(context.decode(last), Undone)


def close(a: int, b: int) -> bool:
    return abs(a - b) <= TOLERANCE * b


@pytest.mark.parametrize("name", GENERATING)
def test_a_prediction_is_what_the_loaded_engine_reports(name: str) -> None:
    chosen = parameters()
    expected = predicted(written(name), chosen).host
    context = Context(load(written(name), chosen, weights=True), chosen)
    taken = context.memory(LIMITS).host
    for part in ("weights", "cache", "compute", "output", "total"):
        sizes = (getattr(each, f"{part}_bytes") for each in (expected, taken))
        assert close(*sizes), part


@pytest.mark.parametrize("name", GENERATING)
@pytest.mark.parametrize("unified", [True, False])
def test_a_full_cache_takes_no_more_than_was_predicted(
    name: str, *, unified: bool
) -> None:
    check_full_cache(name, parameters(cells=2_048, unified=unified))


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", GENERATING)
def test_a_full_cache_of_any_shape_takes_what_was_predicted(
    name: str, shape: str
) -> None:
    check_full_cache(name, parameters(**SHAPES[shape]))


def check_full_cache(name: str, chosen: Parameters) -> None:
    expected = predicted(written(name), chosen)
    context = Context(load(written(name), chosen, weights=True), chosen)
    work(context, chosen)
    assert close(context.memory(LIMITS).host_bytes, expected.host_bytes)


def test_more_cells_cost_layers_with_a_window_nothing() -> None:
    small, large = (
        predicted(written("gemma3"), parameters(cells=cells)).host.cache_bytes
        for cells in (4_096, 8_192)
    )
    # Of the four layers two see everything; keys and values are of 128 halves each.
    assert large - small == 2 * 4_096 * 2 * 128 * 2


def test_a_prediction_holds_for_a_model_that_makes_vectors() -> None:
    order = replace(LOAD, model_paths=(written("bert"),))
    expected = Prober(()).measure(order).memory
    limits = vector_limits(order.limits, trained_tokens=2_048)
    chosen = vector_parameters(order, limits)
    encoder = Encoder(load(written("bert"), chosen, weights=True), chosen)
    assert limits.input_tokens == 512
    encoder.encode([[1, 2, 3], [4] * 500])
    assert close(encoder.memory().host.total_bytes, expected.host.total_bytes)
    assert (expected.sampling_bytes, expected.spill_bytes) == (0, 0)


def test_weights_that_are_laid_out_anew_are_in_memory_once_if_they_are_read() -> None:
    path, chosen = written("llama", "q4_0"), parameters(mapped=False)
    model = load(path, chosen, weights=False)
    opened = footprint.open_context(model.handle, chosen)
    expected = footprint.memory_of(opened, LIMITS, exact=True)
    if not footprint.is_repacked(opened):
        pytest.skip("this processor takes the weights as they are")
    once = Context(load(path, chosen, weights=True), chosen).memory(LIMITS).host
    assert close(once.weights_bytes, expected.host.weights_bytes)
    mapped = parameters(mapped=True)
    twice = Context(load(path, mapped, weights=True), mapped).memory(LIMITS).host
    assert twice.weights_bytes > 1.3 * expected.host.weights_bytes


@pytest.mark.parametrize("name", GENERATING)
def test_log_lines_tell_nearly_the_same(name: str) -> None:
    chosen = parameters()
    model = load(written(name), chosen, weights=False)
    opened = footprint.open_context(model.handle, chosen)
    exact = footprint.memory_of(opened, LIMITS, exact=True).host
    logged = footprint.memory_of(opened, LIMITS, exact=False).host
    assert abs(exact.total_bytes - logged.total_bytes) <= 2**20 // 20


def test_a_count_that_the_log_contradicts_is_not_believed() -> None:
    chosen = parameters()
    model = load(written("llama"), chosen, weights=False)
    opened = footprint.open_context(model.handle, chosen)
    other = footprint.Opened(
        handle=opened.handle,
        model=opened.model,
        parameters=chosen,
        lines=("sched_reserve:        CPU compute buffer size =     1.00 MiB",),
    )
    assert footprint.is_exact(opened)
    assert not footprint.is_exact(other)


def test_cells_are_what_the_parameters_say() -> None:
    params = context_params(parameters(cells=512, sequences=3, outputs=5))
    assert (params.n_ctx, params.n_seq_max, params.n_outputs_max) == (512, 3, 5)
