"""A KV cache and its batches at llama.cpp's low-level API: decode, sample, free.

Runs in a worker process only: a failed assertion in ggml aborts the process, and
the caps that would trigger one (outputs and tokens of a batch) are checked here
before the call. Nothing is decided here; see ``scheduling/scheduler.py``.

Logits are equal bit for bit when the same batches run again, not when a sequence
shares its batch with others: ggml then takes other kernels, and rounding differs
(by about 0.1 in a Q8_0 model). Greedy answers agree where that is no near tie.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import ctypes
from collections.abc import Callable, Sequence

import llama_cpp.llama_cpp as native

from appliance.engine.llama.batch import Batch
from appliance.engine.llama.footprint import is_exact, memory_of, open_context
from appliance.engine.llama.interruption import Interruption
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.llama.sampler import Sampler
from appliance.engine.planning.memory import Memory
from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.decoder import Slice, Undone
from appliance.errors import EngineUnavailableError

_OK = 0
_NO_CELLS = 1
_INTERRUPTED = 2


class Context:
    """A KV cache shared by all sequences, and the batch that feeds it.

    It is the scheduler's ``Decoder``.

    Raises:
        EngineUnavailableError: llama.cpp cannot make such a context.
    """

    def __init__(self, model: Model, parameters: Parameters) -> None:
        self._opened = open_context(model.handle, parameters)
        self._exact = is_exact(self._opened)
        self._handle = self._opened.handle
        self._memory = native.llama_get_memory(self._handle)
        if not self._memory:
            raise EngineUnavailableError("this model remembers no text that it writes")
        self._model = model
        self._outputs_max = parameters.outputs
        self._samplers: dict[int, Sampler] = {}
        self._batch = Batch(parameters.batch_tokens)
        self._interruption = Interruption(self._handle)
        self._copied: set[int] = set()
        """Sequences whose cells llama.cpp will copy when it decodes the next batch."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens in the vocabulary."""
        return self._model.vocabulary_size

    def close(self) -> None:
        """Free the context, its cache and its samplers; nothing may follow."""
        for sampler in self._samplers.values():
            sampler.free()
        self._samplers.clear()
        native.llama_free(self._handle)

    @property
    def threads(self) -> int:
        """Threads that compute a batch."""
        return int(native.llama_n_threads(self._handle))

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next batch on."""
        native.llama_set_n_threads(self._handle, threads, threads)

    @property
    def shares(self) -> bool:
        """Whether sequences may hold cells in common, and be cut at any place."""
        return self._model.shares_cells

    def memory(self, limits: Limits) -> Memory:
        """Return what this context, its model and work within ``limits`` take."""
        return memory_of(self._opened, limits, exact=self._exact)

    def open(
        self,
        sequence: int,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        """Make ready to sample for ``sequence``; its cells stay as they are."""
        self._samplers[sequence] = Sampler(
            sampling,
            vocabulary_size=self._model.vocabulary_size,
            max_new_tokens=max_new_tokens,
            generated=generated,
        )

    def retire(self, sequence: int) -> None:
        """Free the sampler of ``sequence`` and keep its cells."""
        self._samplers.pop(sequence).free()

    def drop(self, sequence: int) -> None:
        """Free the cells of ``sequence``, which has no sampler."""
        native.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def share(self, source: int, target: int, *, begin: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` at these positions as well."""
        native.llama_memory_seq_rm(self._memory, target, begin, end)
        native.llama_memory_seq_cp(self._memory, source, target, begin, end)

    def copy(self, source: int, target: int) -> None:
        """Give ``target`` all that ``source`` holds, in cells of its own."""
        native.llama_memory_seq_rm(self._memory, target, -1, -1)
        native.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._copied.add(source)

    def cut(self, sequence: int, *, tokens: int) -> None:
        """Free the cells of ``sequence`` behind its first ``tokens`` ones."""
        native.llama_memory_seq_rm(self._memory, sequence, tokens, -1)

    def save(self, sequence: int) -> bytes:
        """Return the state of ``sequence`` as bytes of this process's memory."""
        size = native.llama_state_seq_get_size(self._handle, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = native.llama_state_seq_get_data(self._handle, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, state: bytes) -> bool:
        """Give an empty ``sequence`` a saved state; False if that cannot be now."""
        if sequence in self._copied:
            # It would be written at once, over what is yet to be copied.
            return False
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        read = native.llama_state_seq_set_data(
            self._handle, buffer, len(state), sequence
        )
        return bool(read)

    def interrupt(self) -> None:
        """End the batch that is being decoded, from another thread.

        A sliding window or a recurrent state cannot be cut back to what it was, so
        there nothing happens.
        """
        if self.shares:
            self._interruption.set()

    def decode(self, slices: Sequence[Slice]) -> Sequence[Sequence[int]] | Undone:
        """Run one batch and sample; ``Undone`` if the cache is as it was before.

        Raises:
            EngineUnavailableError: The batch is above a cap, or llama.cpp failed;
                the process MUST end then, for its cache is in an unknown state.
        """
        if sum(part.outputs for part in slices) > self._outputs_max:
            raise EngineUnavailableError("a batch asks for more outputs than allowed")
        ends = self._batch.fill(slices)
        answer = native.llama_decode(self._handle, self._batch.native)
        self._interruption.clear()
        self._copied.clear()
        if answer == _NO_CELLS:
            return Undone.NO_CELLS
        if answer == _INTERRUPTED:
            # Parts of the batch that were done stay in the cache.
            for part in slices:
                self.cut(part.sequence, tokens=part.position)
            return Undone.INTERRUPTED
        if answer != _OK:
            raise EngineUnavailableError("llama_decode failed", actual=str(answer))
        return [
            self._sample(part, end=end) if part.wants_token else ()
            for part, end in zip(slices, ends, strict=True)
        ]

    def _sample(self, part: Slice, *, end: int) -> Sequence[int]:
        """Return the guesses of a slice that are right, and one token more."""
        sampler = self._samplers[part.sequence]
        first = end - part.outputs
        guesses = part.tokens[len(part.tokens) - part.drafts :]
        tokens: list[int] = []
        for number in range(part.outputs):
            token = sampler.sample(self._handle, output=first + number)
            tokens.append(token)
            if number < part.drafts and token != guesses[number]:
                break
        return tokens

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
