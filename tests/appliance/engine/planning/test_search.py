"""What would fit is found by measuring a made-up machine, in few steps."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.engine.planning.budget import Allowance, Shortfall, shortfalls
from appliance.engine.planning.memory import (
    HOST,
    DeviceMemory,
    Footprint,
    Gpu,
    Memory,
)
from appliance.engine.planning.search import (
    choose_layers,
    find_fitting,
    largest,
    limited,
)
from appliance.engine.protocol import Load
from tests.appliance.engine.peer import LOAD

WEIGHTS, LAYERS, PER_CELL, PER_SEQUENCE = 1_000, 10, 1, 50
T = TypeVar("T")
ORDER = limited(LOAD, context_tokens=1_024, cells=8_192, sequences=8)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Machine:
    """Measures a model of ten layers; counts how often it is asked."""

    def __init__(self, *, host: int, gpus: tuple[int, ...] = ()) -> None:
        self._host = host
        self._gpus = gpus
        self.asked = 0

    async def measure(self, order: Load) -> Footprint:
        self.asked += 1
        layers = LAYERS + 1 if order.gpu_layers < 0 else order.gpu_layers
        layers = min(layers, LAYERS + 1) if self._gpus else 0
        gpu = WEIGHTS * layers // (LAYERS + 1)
        cache = PER_CELL * order.limits.cells + PER_SEQUENCE * order.limits.sequences
        return Footprint(
            memory=Memory(
                host=DeviceMemory(
                    device=HOST, weights_bytes=WEIGHTS - gpu, cache_bytes=cache
                ),
                gpus=tuple(
                    DeviceMemory(
                        device=f"G{index}", weights_bytes=gpu // len(self._gpus)
                    )
                    for index in range(len(self._gpus))
                    if gpu
                ),
            ),
            trained_tokens=4_096,
            context_tokens=min(order.limits.context_tokens, order.limits.cells, 4_096),
            cells=order.limits.cells,
            sequences=order.limits.sequences,
            layers=LAYERS,
            gpus=tuple(
                Gpu(name=f"G{index}", description="", free_bytes=1, memory_bytes=1)
                for index in range(len(self._gpus))
            ),
        )

    def check(self, footprint: Footprint) -> tuple[Shortfall, ...]:
        devices = {HOST: self._host} | {
            f"G{index}": size for index, size in enumerate(self._gpus)
        }
        return shortfalls(
            footprint.memory,
            [Allowance(device=k, limit="l", bytes=v) for k, v in devices.items()],
        )


def fitting(machine: Machine, order: Load = ORDER) -> Load | None:
    return run(find_fitting(order, machine.measure, machine.check))


def test_nothing_fits_where_not_even_the_weights_do() -> None:
    assert fitting(Machine(host=WEIGHTS)) is None


def test_cells_are_given_up_first() -> None:
    machine = Machine(host=WEIGHTS + 8 * PER_SEQUENCE + 4_000)
    assert fitting(machine) == limited(ORDER, cells=3_840)
    assert machine.asked <= 8


def test_then_requests_at_once() -> None:
    machine = Machine(host=WEIGHTS + 3 * PER_SEQUENCE + 1_024)
    assert fitting(machine) == limited(ORDER, cells=1_024, sequences=3)


def test_then_the_length_of_a_request() -> None:
    machine = Machine(host=WEIGHTS + PER_SEQUENCE + 1_000)
    assert fitting(machine) == limited(
        ORDER, cells=768, sequences=1, context_tokens=768
    )


def test_what_fits_already_is_left_as_it_is() -> None:
    assert fitting(Machine(host=10**6)) == ORDER


@given(st.integers(0, 40_000))
def test_what_is_found_fits_and_one_step_more_does_not(host: int) -> None:
    machine = Machine(host=host)
    found = fitting(machine)
    if found is None:
        least = limited(ORDER, cells=256, sequences=1, context_tokens=256)
        assert machine.check(run(machine.measure(least)))
        return
    assert not machine.check(run(machine.measure(found)))
    assert found.limits.context_tokens <= found.limits.cells
    if found != ORDER:
        more = limited(found, cells=found.limits.cells + 256)
        assert machine.check(run(machine.measure(more)))


@given(st.integers(-5, 60), st.integers(1, 60), st.integers(1, 9))
def test_the_largest_is_found_in_few_steps(most: int, high: int, step: int) -> None:
    asked = []

    async def fits(value: int) -> bool:
        asked.append(value)
        return value <= most

    found = run(largest(0, high, fits, step=step))
    wanted = [value for value in range(0, high + 1, step) if value <= most]
    assert found == (max(wanted) if wanted else None)
    assert len(asked) <= 1 + (high // step).bit_length()


def layers(machine: Machine, asked: int = -1) -> int:
    order = replace(ORDER, gpu_layers=asked)
    chosen, found = run(choose_layers(order, machine.measure, machine.check))
    assert found == run(machine.measure(chosen))
    return chosen.gpu_layers


def test_without_a_gpu_no_layer_is_put_on_one() -> None:
    assert layers(Machine(host=10**6)) == 0


def test_all_layers_and_the_output_go_to_a_gpu_that_has_room() -> None:
    assert layers(Machine(host=10**6, gpus=(10**6,))) == LAYERS + 1


def test_as_many_layers_as_fit_go_to_a_gpu() -> None:
    assert layers(Machine(host=10**6, gpus=(550,))) == 6
    assert layers(Machine(host=10**6, gpus=(3,))) == 0


def test_every_gpu_has_to_have_room() -> None:
    assert layers(Machine(host=10**6, gpus=(500, 275))) == 6


def test_a_gpu_is_used_even_if_the_machine_is_short() -> None:
    assert layers(Machine(host=0, gpus=(550,))) == 6


def test_a_number_that_is_asked_for_is_taken_as_it_is() -> None:
    machine = Machine(host=10**6, gpus=(3,))
    assert layers(machine, asked=9) == 9
    assert machine.asked == 2
