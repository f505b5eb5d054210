"""Writes GGUF models of random weights that llama.cpp loads and decodes.

The same arguments give the same bytes. A model says nothing sensible, but it
has a real tokenizer, a chat template and the tensors of its architecture, so
everything around the weights can be tested as it will run.
"""

from tests.support.gguf_writer.families import ARCHITECTURES, FAMILIES, family
from tests.support.gguf_writer.model import TinyModel
from tests.support.gguf_writer.tensors import tensor_shapes
from tests.support.gguf_writer.write import (
    FILE_TYPES,
    write_hollow_model,
    write_model,
    write_split_model,
)

__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
    "FILE_TYPES",
    "TinyModel",
    "family",
    "tensor_shapes",
    "write_hollow_model",
    "write_model",
    "write_split_model",
]
