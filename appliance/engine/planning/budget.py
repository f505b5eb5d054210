"""How much memory a load may take, and whether one does. Pure.

Every limit counts: what the kernel calls available, what each control group on
the way up leaves, what the limits of the process leave. The smallest one holds,
less a margin for everybody else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.engine.planning.memory import HOST, Ceiling, Footprint, Memory
from bundleformat.errors import InternalFaultError


@dataclass(frozen=True, kw_only=True, slots=True)
class Margins:
    """What is left alone.

    Attributes:
        host_bytes: Of the memory of the machine.
        gpu_bytes: Of each GPU.
    """

    host_bytes: int
    gpu_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What a load may take of one device.

    Attributes:
        device: Name of the device, or :data:`HOST`.
        limit: What sets the limit, in words for a person.
        bytes: What may be taken; the margin is off already.
    """

    device: str
    limit: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """A device whose memory a load exceeds."""

    allowance: Allowance
    needed_bytes: int


def allowances(
    footprint: Footprint, ceilings: Sequence[Ceiling], *, margins: Margins
) -> tuple[Allowance, ...]:
    """Return what a load may take: of the machine's memory first, then of each GPU.

    ``ceilings`` are those of this process; those of its children are in
    ``footprint``.

    Raises:
        InternalFaultError: There is no limit at all, which no machine has.
    """
    return (
        host_allowance((*ceilings, *footprint.ceilings), margins=margins),
        *(
            Allowance(
                device=gpu.name,
                limit=f"free memory of {gpu.description or gpu.name}",
                bytes=max(0, gpu.free_bytes - margins.gpu_bytes),
            )
            for gpu in footprint.gpus
        ),
    )


def host_allowance(ceilings: Sequence[Ceiling], *, margins: Margins) -> Allowance:
    """Return what may be taken of the machine's memory.

    Raises:
        InternalFaultError: There is no limit at all.
    """
    if not ceilings:
        raise InternalFaultError("the memory of this host cannot be told")
    lowest = min(ceilings, key=lambda each: each.left_bytes)
    return Allowance(
        device=HOST,
        limit=lowest.name,
        bytes=max(0, lowest.left_bytes - margins.host_bytes),
    )


def shortfalls(memory: Memory, allowed: Sequence[Allowance]) -> tuple[Shortfall, ...]:
    """Return every device that ``memory`` would take too much of."""
    return tuple(_shortfalls(memory, {each.device: each for each in allowed}))


def _shortfalls(memory: Memory, allowed: dict[str, Allowance]) -> Iterator[Shortfall]:
    needed = {HOST: memory.host_bytes}
    needed |= {gpu.device: gpu.total_bytes for gpu in memory.gpus}
    for device, size_bytes in needed.items():
        # A device that nobody reported is not known to have room.
        allowance = allowed.get(
            device, Allowance(device=device, limit="a device without a report", bytes=0)
        )
        if size_bytes > allowance.bytes:
            yield Shortfall(allowance=allowance, needed_bytes=size_bytes)
