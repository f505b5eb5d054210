"""Writes the end of a GGUF file: its tensors, after all that its header says."""

from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np


def finish(
    writer: Any,
    tensors: Mapping[str, Any],
    *,
    quantised: gguf.GGMLQuantizationType,
    whole: tuple[str, ...] = (),
) -> None:
    """Write header and tensors, and close the file.

    Args:
        writer: Has been told everything else.
        tensors: Arrays by their names in GGUF; vectors stay F32.
        quantised: How rows of all others are written.
        whole: How names of tables begin that stay F32 as well.
    """
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor, dtype=np.float32)
        if array.ndim == 1 or name.startswith(whole):
            writer.add_tensor(name, array)
        else:
            rows = gguf.quants.quantize(array, quantised)
            writer.add_tensor(name, rows, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
