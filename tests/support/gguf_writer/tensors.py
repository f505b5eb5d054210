"""The tensors of a model: their names, their shapes and what fills them."""

from collections.abc import Iterator

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as TensorType

from tests.support.gguf_writer import encoder
from tests.support.gguf_writer.dense import Shape
from tests.support.gguf_writer.families import writer_of
from tests.support.gguf_writer.model import TinyModel
from tests.support.gguf_writer.vocabulary import token_types, vocabulary_size

QUANTIZED_COLUMNS = 32
"""Elements of one quantized block; rows must be whole blocks."""

_ALWAYS_F32 = (
    "ffn_gate_inp.weight",
    "position_embd.weight",
    "ssm_a",
    "ssm_conv1d.weight",
    "ssm_d",
    "token_types.weight",
)
"""Tensors of more than one row that llama.cpp wants, or converters keep, as F32."""

SLOW = -2.0
"""Bias of a state's time step: it then remembers some tens of tokens."""

_Array = npt.NDArray[np.float32]


def tensor_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    """Yield each tensor of ``model`` with its shape, rows first, in file order."""
    blocks = writer_of(model).block_shapes
    yield from _top_shapes(model)
    for layer in range(model.layers):
        for name, shape in blocks(model, layer):
            yield f"blk.{layer}.{name}", shape


def _top_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    vocabulary = vocabulary_size(model)
    if model.architecture in encoder.ARCHITECTURES:
        yield from encoder.top_shapes(
            model, vocabulary=vocabulary, token_types=token_types(model)
        )
        return
    yield "token_embd.weight", (vocabulary, model.embedding)
    yield "output_norm.weight", (model.embedding,)
    if not model.architecture.startswith("gemma"):
        yield "output.weight", (vocabulary, model.embedding)


def add_tensors(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Fill every tensor of ``model`` from its seed and add it."""
    generator = np.random.default_rng(model.seed)
    for name, shape in tensor_shapes(model):
        values = _values(name, shape, generator=generator)
        raw_type = _type_of(name, shape, model=model)
        if raw_type is TensorType.F32:
            writer.add_tensor(name, values)
        else:
            packed = gguf.quants.quantize(values, raw_type)
            writer.add_tensor(name, packed, raw_dtype=raw_type)


def add_tensor_infos(writer: gguf.GGUFWriter, model: TinyModel) -> int:
    """Add every tensor of ``model`` without its values; return the bytes they take.

    Only ``f32`` and ``f16`` weights, whose elements have a size of their own.
    """
    total = 0
    for name, shape in tensor_shapes(model):
        wanted = _type_of(name, shape, model=model)
        kind = np.dtype(np.float32 if wanted is TensorType.F32 else np.float16)
        size_bytes = int(np.prod(shape)) * kind.itemsize
        writer.add_tensor_info(name, shape, kind, size_bytes)
        total += writer.ggml_pad(size_bytes, gguf.GGUF_DEFAULT_ALIGNMENT)
    return total


def _type_of(name: str, shape: Shape, *, model: TinyModel) -> TensorType:
    if len(shape) == 1 or name.endswith(("norm.weight", *_ALWAYS_F32)):
        return TensorType.F32
    wanted = TensorType[model.weights.upper()]
    whole = shape[-1] % QUANTIZED_COLUMNS == 0
    return wanted if whole or wanted is TensorType.F16 else TensorType.F32


def _values(name: str, shape: Shape, *, generator: np.random.Generator) -> _Array:
    if name.endswith(("norm.weight", "ssm_d")):
        return np.ones(shape, dtype=np.float32)
    if name.endswith("ssm_a"):
        # What a state keeps of itself in one step: less, the further it is.
        decay = -np.arange(1, shape[-1] + 1, dtype=np.float32)
        return np.ascontiguousarray(np.broadcast_to(decay, shape))
    if name.endswith("ssm_dt.bias"):
        return np.full(shape, SLOW, dtype=np.float32)
    if len(shape) == 1:
        return np.zeros(shape, dtype=np.float32)
    values = generator.standard_normal(shape, dtype=np.float32)
    return values / np.float32(np.sqrt(shape[-1]))
