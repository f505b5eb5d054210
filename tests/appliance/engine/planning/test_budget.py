"""What a load may take, and what it takes too much of."""

import pytest

from appliance.engine.planning.budget import (
    Margins,
    allowances,
    host_allowance,
    shortfalls,
)
from appliance.engine.planning.memory import (
    HOST,
    Ceiling,
    DeviceMemory,
    Footprint,
    Gpu,
    Memory,
)
from bundleformat.errors import InternalFaultError

MARGINS = Margins(host_bytes=10, gpu_bytes=100)


def memory(host: int, **gpus: int) -> Memory:
    return Memory(
        host=DeviceMemory(device=HOST, weights_bytes=host),
        gpus=tuple(
            DeviceMemory(device=name, cache_bytes=size) for name, size in gpus.items()
        ),
    )


def footprint(found: Memory, **changes: object) -> Footprint:
    facts = {
        "trained_tokens": 8,
        "context_tokens": 8,
        "cells": 8,
        "sequences": 1,
        "layers": 2,
        "gpus": (Gpu(name="CUDA0", description="", free_bytes=500, memory_bytes=900),),
    }
    return Footprint(memory=found, **{**facts, **changes})  # type: ignore[arg-type]


def test_a_machine_without_a_limit_is_a_fault() -> None:
    with pytest.raises(InternalFaultError):
        host_allowance((), margins=MARGINS)


def test_the_smallest_limit_holds_less_the_margin() -> None:
    ceilings = (Ceiling(name="a", left_bytes=70), Ceiling(name="b", left_bytes=60))
    inherited = (Ceiling(name="c", left_bytes=65),)
    allowed = allowances(
        footprint(memory(1), ceilings=inherited), ceilings, margins=MARGINS
    )
    assert [(each.device, each.limit, each.bytes) for each in allowed] == [
        (HOST, "b", 50),
        ("CUDA0", "free memory of CUDA0", 400),
    ]


def test_a_limit_of_the_child_may_be_the_smallest() -> None:
    allowed = allowances(
        footprint(memory(1), ceilings=(Ceiling(name="c", left_bytes=30),)),
        (Ceiling(name="a", left_bytes=70),),
        margins=MARGINS,
    )
    assert (allowed[0].limit, allowed[0].bytes) == ("c", 20)


def test_nothing_is_left_of_less_than_the_margin() -> None:
    assert (
        host_allowance((Ceiling(name="a", left_bytes=-5),), margins=MARGINS).bytes == 0
    )


@pytest.mark.parametrize(
    ("found", "short"),
    [
        (memory(50), []),
        (memory(51), [(HOST, 51)]),
        (memory(50, CUDA0=400), []),
        (memory(50, CUDA0=401), [("CUDA0", 401)]),
        (memory(51, CUDA0=401), [(HOST, 51), ("CUDA0", 401)]),
        (memory(1, CUDA7=1), [("CUDA7", 1)]),
    ],
)
def test_every_device_is_compared(found: Memory, short: list[tuple[str, int]]) -> None:
    allowed = allowances(
        footprint(memory(1)), (Ceiling(name="b", left_bytes=60),), margins=MARGINS
    )
    assert [
        (each.allowance.device, each.needed_bytes)
        for each in shortfalls(found, allowed)
    ] == short
