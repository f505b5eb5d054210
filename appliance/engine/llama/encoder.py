"""Texts in, vectors out, at llama.cpp's low-level API.

Runs in a worker process only: a failed assertion in ggml aborts the process, and
the caps that would trigger one (tokens and texts of a batch) are checked here
before the call. Nothing is decided here; see ``scheduling/vector_queue.py``.

A batch is computed at once, because a text's vector depends on all its tokens.
Texts of one batch do not see each other; rounding differs with the company.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

from collections.abc import Callable, Sequence

import llama_cpp.llama_cpp as native
import numpy as np

from appliance.engine.llama.batch import Batch
from appliance.engine.llama.footprint import is_exact, memory_of, open_context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.planning.memory import Memory
from appliance.engine.scheduling.decoder import Slice
from appliance.errors import EngineUnavailableError

_OK = 0


class Encoder:
    """A context that makes one vector of each text.

    Attributes:
        vector_size: Numbers of a vector.

    Raises:
        EngineUnavailableError: llama.cpp cannot make such a context.
    """

    def __init__(self, model: Model, parameters: Parameters) -> None:
        self._opened = open_context(model.handle, parameters)
        self._exact = is_exact(self._opened)
        self._handle = self._opened.handle
        if native.llama_n_ubatch(self._handle) < parameters.batch_tokens:
            raise EngineUnavailableError("llama.cpp cannot make batches of that size")
        # Encoders have none; a model that reads from left to right has one.
        self._memory = native.llama_get_memory(self._handle)
        self._model = model
        self._texts = parameters.sequences
        self._batch = Batch(parameters.batch_tokens)
        self.vector_size = int(native.llama_model_n_embd_out(model.handle))

    @property
    def threads(self) -> int:
        """Threads that compute a batch."""
        return int(native.llama_n_threads(self._handle))

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next batch on."""
        native.llama_set_n_threads(self._handle, threads, threads)

    def memory(self) -> Memory:
        """Return what this context and its model take now."""
        return memory_of(self._opened, None, exact=self._exact)

    def encode(self, texts: Sequence[Sequence[int]]) -> list[bytes]:
        """Return the vector of each text, of length 1, as little-endian floats.

        Raises:
            EngineUnavailableError: The batch is above a cap, llama.cpp failed, or
                the model made something that is not a number; the process MUST end
                then.
        """
        if len(texts) > self._texts:
            raise EngineUnavailableError("a batch holds more texts than allowed")
        self._batch.fill(
            [
                Slice(sequence=number, position=0, tokens=tokens, wants_token=True)
                for number, tokens in enumerate(texts)
            ]
        )
        answer = native.llama_decode(self._handle, self._batch.native)
        if answer != _OK:
            raise EngineUnavailableError("llama_decode failed", actual=str(answer))
        vectors = [self._vector(number) for number in range(len(texts))]
        if self._memory:
            native.llama_memory_clear(self._memory, False)  # noqa: FBT003  # a C function
        return vectors

    def rehearse(self, tokens: int, *, now_s: Callable[[], float]) -> float:
        """Return the seconds that one text of ``tokens`` takes.

        The first of two runs pays for what is done once: reading weights from the
        disk, growing buffers. Only the second is measured.
        """
        count = self._model.vocabulary_size
        text = [token % count for token in range(tokens)]
        took_s = 0.0
        for _ in range(2):
            began_s = now_s()
            self.encode([text])
            took_s = now_s() - began_s
        return took_s

    def _vector(self, number: int) -> bytes:
        pointer = native.llama_get_embeddings_seq(self._handle, number)
        if not pointer:
            raise EngineUnavailableError("llama.cpp made no vector of a text")
        raw = np.ctypeslib.as_array(pointer, (self.vector_size,)).astype(np.float64)
        length = float(np.linalg.norm(raw))
        if not np.isfinite(length):
            raise EngineUnavailableError("the model makes vectors that are no numbers")
        return (raw / (length or 1.0)).astype("<f4").tobytes()
