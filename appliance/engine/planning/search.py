"""What would fit: searched by measuring, a bounded number of times.

What a load takes grows with its cells, its sequences and its layers on a GPU, so
that halving an interval finds the largest that fits. Whoever measures may be a
probe on the real model or a fake.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from appliance.engine.planning.budget import Shortfall
from appliance.engine.planning.memory import HOST, Footprint
from appliance.engine.protocol import Load

CELLS_STEP = 256
"""What llama.cpp rounds the cells of a cache up to."""

Measure = Callable[[Load], Awaitable[Footprint]]
"""Says what a load would take."""

Check = Callable[[Footprint], Sequence[Shortfall]]
"""Says what a footprint takes too much of."""


async def largest(
    low: int, high: int, fits: Callable[[int], Awaitable[bool]], *, step: int = 1
) -> int | None:
    """Return the largest of ``low``, ``low + step``, ... up to ``high`` that fits.

    None if not even ``low`` does. ``fits`` is asked once more than there are bits
    in the number of them, at most.
    """
    if low > high or not await fits(low):
        return None
    begin, end = 0, (high - low) // step
    while begin < end:
        middle = (begin + end + 1) // 2
        if await fits(low + middle * step):
            begin = middle
        else:
            end = middle - 1
    return low + begin * step


async def choose_layers(
    order: Load, measure: Measure, check: Check
) -> tuple[Load, Footprint]:
    """Return ``order`` with as many layers on GPUs as fit there, and what it takes.

    A number that ``order`` names is taken as it is. Where there is no GPU, none
    is put there.
    """
    found = await measure(order)
    if order.gpu_layers >= 0:
        return order, found
    if not found.gpus:
        return replace(order, gpu_layers=0), found

    async def fits(layers: int) -> bool:
        footprint = await measure(replace(order, gpu_layers=layers))
        return all(short.allowance.device == HOST for short in check(footprint))

    # One more than there are layers: the output is the last one.
    layers = await largest(0, found.layers + 1, fits)
    chosen = replace(order, gpu_layers=layers or 0)
    return chosen, await measure(chosen)


async def find_fitting(order: Load, measure: Measure, check: Check) -> Load | None:
    """Return the nearest order to ``order`` that fits; None if none does.

    Cells are given up first, as far as one request of full length needs them; then
    requests at once; then the length of a request.
    """

    async def fits(changed: Load) -> bool:
        return not check(await measure(changed))

    context = rounded_up((await measure(order)).context_tokens)
    cells = await largest(
        context,
        order.limits.cells,
        lambda cells: fits(limited(order, cells=cells)),
        step=CELLS_STEP,
    )
    if cells is not None:
        return limited(order, cells=cells)
    fewest = limited(order, cells=context)
    sequences = await largest(
        1,
        order.limits.sequences,
        lambda sequences: fits(limited(fewest, sequences=sequences)),
    )
    if sequences is not None:
        return limited(fewest, sequences=sequences)
    one = limited(fewest, sequences=1)
    length = await largest(
        CELLS_STEP,
        context,
        lambda cells: fits(limited(one, cells=cells, context_tokens=cells)),
        step=CELLS_STEP,
    )
    if length is None:
        return None
    return limited(one, cells=length, context_tokens=length)


def limited(order: Load, **changes: int) -> Load:
    """Return ``order`` with ``changes`` to its limits."""
    limits = dataclasses.replace(order.limits, **changes)  # type: ignore[arg-type]  # only numbers are changed
    return replace(order, limits=limits)


def rounded_up(cells: int) -> int:
    """Return the cells that llama.cpp makes of ``cells``."""
    return -(-cells // CELLS_STEP) * CELLS_STEP
