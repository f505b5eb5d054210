"""What ``sallyport model plan`` prints: bytes by device, and users by context."""

from typing import Any

from appliance.cli.output import table
from appliance.engine.planning.capacity import USERS, Capacity, Row
from appliance.engine.planning.memory import DeviceMemory
from appliance.engine.protocol import Load
from appliance.errors import InsufficientMemoryError

PARTS = ("weights", "cache", "compute", "output")
"""What is in the memory of a device, in the order it is told."""

BESIDE = ("sampling", "spill", "requests", "process")
"""What the engine takes of the machine's memory besides."""

_MIB, _GIB = 2**20, 2**30


def lines(name: str, found: Capacity) -> tuple[str, ...]:
    """Return the plan for a person to read."""
    footprint, limits = found.footprint, found.order.limits
    shown = "" if footprint.exact else " (told from llama.cpp's log lines)"
    what = (
        "makes vectors of texts"
        if footprint.vectors
        else f"{limits.sequences} requests of {footprint.context_tokens:,} tokens at "
        f"once, {footprint.cells:,} cells"
    )
    return (
        f"{name}: trained for {footprint.trained_tokens:,} tokens; {what}{shown}",
        "",
        *_memory_lines(found),
        "",
        *_verdict_lines(found),
        *_table_lines(found.rows),
    )


def value(name: str, found: Capacity) -> dict[str, Any]:
    """Return the plan for machines."""
    footprint = found.footprint
    return {
        "model": name,
        "trained_tokens": footprint.trained_tokens,
        "makes_vectors": footprint.vectors,
        "exact": footprint.exact,
        "asked": _settings(found.order) | {"context_tokens": footprint.context_tokens},
        "gpu_layers": found.order.gpu_layers,
        "memory": {
            **{each.device: _parts(each) for each in _devices(found)},
            "beside": {part: _beside(found, part) for part in BESIDE},
        },
        "total_bytes": footprint.memory.total_bytes,
        "allowed": [
            {"device": each.device, "limit": each.limit, "bytes": each.bytes}
            for each in found.allowed
        ],
        "fits": not found.short,
        "would_fit": None if found.fitting is None else _settings(found.fitting),
        "table": [
            {
                "context_tokens": row.context_tokens,
                "most_users": row.most_users,
                "users": [
                    {
                        "users": case.users,
                        "bytes": case.total_bytes,
                        "fits": case.fits,
                    }
                    for case in row.cases
                ],
            }
            for row in found.rows
        ],
    }


def refusal(name: str, found: Capacity) -> InsufficientMemoryError | None:
    """Return the error that a load would end in, or None if it fits."""
    for short in found.short:
        limits = None if found.fitting is None else found.fitting.limits
        return InsufficientMemoryError(
            device=short.allowance.device,
            needed_bytes=short.needed_bytes,
            allowed_bytes=short.allowance.bytes,
            limit=short.allowance.limit,
            fitting=None
            if limits is None
            else (limits.context_tokens, limits.sequences, limits.cells),
            where=name,
        )
    return None


def _memory_lines(found: Capacity) -> tuple[str, ...]:
    memory = found.footprint.memory
    allowed = {each.device: each for each in found.allowed}
    rows = []
    for device in _devices(found):
        host = device is memory.host
        taken = {part: getattr(device, f"{part}_bytes") for part in PARTS}
        if host:
            taken |= {part: _beside(found, part) for part in BESIDE}
        total = memory.host_bytes if host else device.total_bytes
        rows += [(device.device, part, size(each)) for part, each in taken.items()]
        rows.append((device.device, "total", size(total)))
        limit = allowed[device.device]
        rows.append((device.device, "allowed", f"{size(limit.bytes)} ({limit.limit})"))
    return table(("MEMORY", "FOR", "SIZE"), tuple(rows))


def _verdict_lines(found: Capacity) -> tuple[str, ...]:
    if not found.short:
        return ("yes: this fits", "")
    if found.fitting is None:
        return ("no: not one request fits", "")
    limits = found.fitting.limits
    return (
        "no; this would fit, in the section [engine] of sallyport.toml:",
        f"    context_tokens = {limits.context_tokens}",
        f"    sequences = {limits.sequences}",
        f"    cells = {limits.cells}",
        "",
    )


def _table_lines(rows: tuple[Row, ...]) -> tuple[str, ...]:
    if not rows:
        return ()
    heads = ("CONTEXT", *(f"{users} USERS" for users in USERS), "AT MOST")
    body = tuple(
        (
            f"{row.context_tokens:,}",
            *(
                size(case.total_bytes) if case.fits else f"({size(case.total_bytes)})"
                for case in row.cases
            ),
            f"{row.most_users} users",
        )
        for row in rows
    )
    return (*table(heads, body), "in brackets: more than there is")


def _devices(found: Capacity) -> tuple[DeviceMemory, ...]:
    memory = found.footprint.memory
    return (memory.host, *memory.gpus)


def _parts(device: DeviceMemory) -> dict[str, int]:
    return {f"{part}_bytes": getattr(device, f"{part}_bytes") for part in PARTS}


def _beside(found: Capacity, part: str) -> int:
    return int(getattr(found.footprint.memory, f"{part}_bytes"))


def _settings(order: Load) -> dict[str, int]:
    limits = order.limits
    return {
        "context_tokens": limits.context_tokens,
        "sequences": limits.sequences,
        "cells": limits.cells,
    }


def size(size_bytes: int) -> str:
    """Return a size for a person: MiB, and GiB from one on."""
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:,.2f} GiB"
    return f"{size_bytes / _MIB:,.1f} MiB"
