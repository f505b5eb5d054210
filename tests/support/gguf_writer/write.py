"""From a ``TinyModel`` to its file, or its files."""

from pathlib import Path

import gguf

from tests.support.gguf_writer.families import writer_of
from tests.support.gguf_writer.model import TinyModel
from tests.support.gguf_writer.tensors import add_tensor_infos, add_tensors
from tests.support.gguf_writer.vocabulary import add_vocabulary

FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}
"""Values of ``general.file_type`` for each kind of weights."""

NORM_EPSILON = 1e-5
"""Added under the root of every RMS norm."""


def write_model(path: Path, model: TinyModel | None = None) -> Path:
    """Write ``model`` to ``path`` and return the path."""
    chosen = model or TinyModel()
    _write(gguf.GGUFWriter(str(path), chosen.architecture), chosen)
    return path


def write_split_model(
    path: Path,
    model: TinyModel | None = None,
    *,
    tensors: int = 6,
    small_first: bool = False,
) -> tuple[Path, ...]:
    """Write ``model`` as parts of at most ``tensors`` each; return their paths.

    ``path`` is that of the whole; parts lie beside it, named as llama.cpp does.
    With ``small_first`` the first part holds metadata and no tensor.
    """
    chosen = model or TinyModel()
    writer = gguf.GGUFWriter(
        str(path),
        chosen.architecture,
        split_max_tensors=tensors,
        small_first_shard=small_first,
    )
    _write(writer, chosen)
    return tuple(sorted(path.parent.glob(f"{path.stem}-0*.gguf")))


def write_hollow_model(path: Path, model: TinyModel) -> Path:
    """Write ``model`` with weights of nothing but zeros, which take no room on disk.

    So a model may be as large as real ones, for those who read no weights.
    """
    writer = gguf.GGUFWriter(str(path), model.architecture)
    _add_header(writer, model)
    add_vocabulary(writer, model)
    size_bytes = add_tensor_infos(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    begin = -(-path.stat().st_size // gguf.GGUF_DEFAULT_ALIGNMENT)
    with path.open("r+b") as file:
        file.truncate(begin * gguf.GGUF_DEFAULT_ALIGNMENT + size_bytes)
    return path


def _write(writer: gguf.GGUFWriter, chosen: TinyModel) -> None:
    _add_header(writer, chosen)
    add_vocabulary(writer, chosen)
    add_tensors(writer, chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what every architecture says, then what only this one does."""
    writer.add_name(model.name)
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.embedding)
    writer.add_block_count(model.layers)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_file_type(FILE_TYPES[model.weights])
    if model.pooling is not None:
        writer.add_pooling_type(model.pooling)
    writer_of(model).add_header(writer, model)
