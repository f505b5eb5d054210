"""A KV cache and its batches at llama.cpp's low-level API: decode, sample, free.

Runs in a worker process only: a failed assertion in ggml aborts the process, and
the caps that would trigger one (outputs and tokens of a batch) are checked here
before the call. Nothing is decided here; see ``scheduling/scheduler.py``.

Logits are equal bit for bit when the same batches run again, not when a sequence
shares its batch with others: ggml then takes other kernels, and rounding differs
(by about 0.1 in a Q8_0 model). Greedy answers agree where that is no near tie.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

from collections.abc import Callable, Sequence

import llama_cpp.llama_cpp as native

from appliance.engine.llama.batch import Batch
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters, context_params
from appliance.engine.llama.sampler import Sampler
from appliance.engine.port import Sampling
from appliance.engine.scheduling.decoder import Slice
from appliance.errors import EngineUnavailableError

_OK = 0
_NO_CELLS = 1


class Context:
    """A KV cache shared by all sequences, and the batch that feeds it.

    It is the scheduler's ``Decoder``.

    Raises:
        EngineUnavailableError: llama.cpp cannot make such a context.
    """

    def __init__(self, model: Model, parameters: Parameters) -> None:
        params = context_params(parameters)
        self._handle = native.llama_init_from_model(model.handle, params)
        if not self._handle or native.llama_n_ctx(self._handle) < parameters.cells:
            raise EngineUnavailableError("llama.cpp cannot make a context of that size")
        self._memory = native.llama_get_memory(self._handle)
        self._model = model
        self._outputs_max = parameters.outputs
        self._samplers: dict[int, Sampler] = {}
        self._batch = Batch(parameters.batch_tokens)

    def open(
        self,
        sequence: int,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        """Make ready to sample for ``sequence``."""
        self._samplers[sequence] = Sampler(
            sampling,
            vocabulary_size=self._model.vocabulary_size,
            max_new_tokens=max_new_tokens,
            generated=generated,
        )

    def close(self, sequence: int) -> None:
        """Free the cells and the sampler of ``sequence``."""
        native.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self._samplers.pop(sequence).free()

    def decode(self, slices: Sequence[Slice]) -> Sequence[int | None] | None:
        """Run one batch and sample; None when the cache had no cells left.

        Raises:
            EngineUnavailableError: The batch is above a cap, or llama.cpp failed;
                the process MUST end then, for its cache is in an unknown state.
        """
        outputs = self._batch.fill(slices)
        wanted = sum(output is not None for output in outputs)
        if wanted > self._outputs_max:
            raise EngineUnavailableError("a batch asks for more outputs than allowed")
        answer = native.llama_decode(self._handle, self._batch.native)
        if answer == _NO_CELLS:
            return None
        if answer != _OK:
            raise EngineUnavailableError("llama_decode failed", actual=str(answer))
        return [
            None
            if output is None
            else self._samplers[part.sequence].sample(self._handle, output=output)
            for part, output in zip(slices, outputs, strict=True)
        ]

    def rehearse(self, tokens: int, *, now_s: Callable[[], float]) -> float:
        """Return the seconds that a batch of ``tokens`` takes; nothing is left of it.

        The first of two runs pays for what is done once: reading weights from the
        disk, growing buffers. Only the second is measured.
        """
        count = min(tokens, self._model.vocabulary_size)
        batch = Slice(sequence=0, position=0, tokens=range(count), wants_token=False)
        took_s = 0.0
        for _ in range(2):
            self._batch.fill([batch])
            began_s = now_s()
            answer = native.llama_decode(self._handle, self._batch.native)
            native.llama_synchronize(self._handle)
            took_s = now_s() - began_s
            native.llama_memory_seq_rm(self._memory, 0, -1, -1)
            if answer != _OK:
                raise EngineUnavailableError("llama_decode failed", actual=str(answer))
        return took_s

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to the text."""
        return self._model.piece(token)

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return self._model.is_end(token)
