"""The numbers of the GGUF format: value types, tensor types, caps.

Source: ggml docs/gguf.md (v3), "File Structure", and ``enum ggml_type`` of
llama.cpp as it stands in llama-cpp-python 0.3.36.
"""

import enum
from dataclasses import dataclass
from typing import Final


class ValueType(enum.IntEnum):
    """Type of a metadata value (gguf_metadata_value_type)."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


INTEGER_FORMATS: Final = {
    ValueType.UINT8: "<B",
    ValueType.INT8: "<b",
    ValueType.UINT16: "<H",
    ValueType.INT16: "<h",
    ValueType.UINT32: "<I",
    ValueType.INT32: "<i",
    ValueType.UINT64: "<Q",
    ValueType.INT64: "<q",
}
"""How each whole-number type is packed, for ``struct``."""

VALUE_SIZES: Final = {
    ValueType.UINT8: 1,
    ValueType.INT8: 1,
    ValueType.UINT16: 2,
    ValueType.INT16: 2,
    ValueType.UINT32: 4,
    ValueType.INT32: 4,
    ValueType.FLOAT32: 4,
    ValueType.BOOL: 1,
    ValueType.UINT64: 8,
    ValueType.INT64: 8,
    ValueType.FLOAT64: 8,
}
"""Bytes of each type of fixed size. Strings and arrays are not in here."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """How the elements of a tensor are packed into blocks."""

    name: str
    block_elements: int
    block_bytes: int


TENSOR_TYPES: Final = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
}
"""Every tensor type accepted. Numbers missing here were removed from the format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufLimits:
    """Caps on a GGUF header; each is checked before anything is read or kept.

    Attributes:
        header_bytes: Metadata and tensor list together. Real headers stay under
            20 MB, nearly all of it vocabulary.
        pairs: Metadata key-value pairs.
        key_bytes: One metadata key.
        string_bytes: One string value, in an array or not.
        array_elements: Elements of one array; vocabularies reach 262,144.
        tensors: Tensors in the file, or in all parts of a split model.
        dimensions: Dimensions of a tensor (GGML_MAX_DIMS).
        tensor_name_bytes: One tensor name (GGML_MAX_NAME less its final zero).
        blocks: Layers (LLAMA_MAX_LAYERS); one more aborts llama.cpp's process.
        experts: Experts of a layer (LLAMA_MAX_EXPERTS), for the same reason.
        context_tokens: Context length a model may claim.
        embedding_elements: Width a model may claim.
        alignment_bytes: Alignment of tensor data.
        chat_template_bytes: The chat template, which is a program.
        parts: Files of one split model.
    """

    header_bytes: int = 64 * 1024 * 1024
    pairs: int = 4_096
    key_bytes: int = 256
    string_bytes: int = 1024 * 1024
    array_elements: int = 2 * 1024 * 1024
    tensors: int = 65_536
    dimensions: int = 4
    tensor_name_bytes: int = 63
    blocks: int = 512
    experts: int = 512
    context_tokens: int = 2**27
    embedding_elements: int = 2**20
    alignment_bytes: int = 65_536
    chat_template_bytes: int = 256 * 1024
    parts: int = 512


DEFAULT_GGUF_LIMITS: Final = GgufLimits()
"""What both machines use."""
