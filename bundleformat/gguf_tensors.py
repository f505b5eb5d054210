"""The second part of a GGUF file: the tensor list, and the extent of the data.

No tensor data is read. Source: ggml docs/gguf.md (v3), "File Structure".
"""

import math
from dataclasses import dataclass

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.gguf_cursor import Cursor
from bundleformat.gguf_types import TENSOR_TYPES


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorTotals:
    """All tensors together. ``end`` counts from the first byte of their data."""

    count: int
    elements: int
    data_bytes: int
    end: int


def read_tensors(
    cursor: Cursor, *, count: int, alignment: int, names: set[bytes] | None = None
) -> TensorTotals:
    """Read the tensor list; its tensors follow one another without gap or overlap.

    ``names`` are those of earlier parts of a split model; the names found here
    are added.

    Raises:
        MalformedError: A name, type, shape or offset that cannot be.
        LimitExceededError: A name too long, or too many dimensions.
    """
    names = set() if names is None else names
    elements = data_bytes = end = 0
    for index in range(count):
        where = f"tensor {index}"
        name = cursor.string(most=cursor.limits.tensor_name_bytes, where=where)
        if not name or not name.isascii() or not name.decode("ascii").isprintable():
            raise MalformedError("not a tensor name", where=where, actual=repr(name))
        if name in names:
            raise MalformedError("named twice", where=where, actual=repr(name))
        names.add(name)
        tensor_elements, tensor_bytes = _read_shape(cursor, where=where)
        start = _align(end, alignment)
        offset = cursor.uint64(where=where)
        if offset != start:
            raise MalformedError(
                "tensor data with a gap or an overlap",
                where=where,
                expected=f"offset {start}",
                actual=str(offset),
            )
        elements += tensor_elements
        data_bytes += tensor_bytes
        end = start + tensor_bytes
    return TensorTotals(count=count, elements=elements, data_bytes=data_bytes, end=end)


def _read_shape(cursor: Cursor, *, where: str) -> tuple[int, int]:
    """Return the elements and the bytes of one tensor.

    Python's integers do not overflow, so the products below are exact; what
    would overflow elsewhere is larger than any file and is refused by
    ``check_extent``.
    """
    dimensions = cursor.uint32(where=where)
    if not 1 <= dimensions <= cursor.limits.dimensions:
        raise LimitExceededError(
            "number of dimensions",
            where=where,
            expected=f"1 to {cursor.limits.dimensions}",
            actual=str(dimensions),
        )
    shape = tuple(cursor.uint64(where=where) for _ in range(dimensions))
    number = cursor.uint32(where=where)
    packing = TENSOR_TYPES.get(number)
    if packing is None:
        raise MalformedError("unknown tensor type", where=where, actual=str(number))
    if 0 in shape or shape[0] % packing.block_elements:
        raise MalformedError(
            f"a shape {packing.name} cannot have", where=where, actual=str(shape)
        )
    elements = math.prod(shape)
    return elements, elements // packing.block_elements * packing.block_bytes


def check_extent(
    totals: TensorTotals, *, start: int, alignment: int, size_bytes: int
) -> None:
    """Refuse a file that ends before its tensors do, or goes on after them.

    ``start`` is where the tensor list ended.

    Raises:
        MalformedError: It does.
    """
    first = _align(start, alignment)
    # The first part of a split model may hold no tensor, and then no padding.
    end = first + totals.end if totals.count else start
    if not end <= size_bytes <= first + _align(totals.end, alignment):
        raise MalformedError(
            "the tensors do not fill the file",
            where="tensor data",
            expected=f"{end} bytes",
            actual=str(size_bytes),
        )


def _align(position: int, alignment: int) -> int:
    return (position + alignment - 1) // alignment * alignment
