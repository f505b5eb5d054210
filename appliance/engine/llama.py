"""The thin, typed edge to llama.cpp's low-level API: load, decode, sample, tokens.

Runs in a worker process only: a failed assertion in ggml aborts the process, and
the caps that would trigger one (outputs and tokens of a batch) are checked here
before the call. Nothing is decided here; see ``scheduler.py``.

Logits are equal bit for bit when the same batches run again, not when a sequence
shares its batch with others: ggml then takes other kernels, and rounding differs
(by about 0.1 in a Q8_0 model). Greedy answers agree where that is no near tie.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import ctypes
import re
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np

from appliance.engine.decoder import Slice
from appliance.engine.llama_log import Log
from appliance.engine.port import Sampling
from appliance.engine.sampling import Sampler
from appliance.errors import EngineUnavailableError

_PIECE_BYTES = 256
_MARKS = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_USER_DEFINED
_MARKUP = re.compile(r"[<\[].+[>\]]\Z", re.DOTALL)

_NO_ADDITIONS = False
"""Whether ``llama_tokenize`` adds BOS and EOS by itself."""

_HIDE_CONTROL = False
"""Whether ``llama_token_to_piece`` spells control tokens out."""

_BOUNDED_VOCABULARIES = (native.LLAMA_VOCAB_TYPE_SPM, native.LLAMA_VOCAB_TYPE_BPE)
"""Kinds of vocabulary that spell every byte of a text they keep.

The others may shorten a text before they look at it, or write one token for a
whole word they do not know.
"""

_OK = 0
_NO_CELLS = 1


class Model:
    """Weights and vocabulary of a model, from one file or from all its parts.

    Parts are given in order; their names say nothing, so files of a store do.

    Raises:
        EngineUnavailableError: llama.cpp cannot load it, or it does not generate.
    """

    def __init__(self, *paths: str) -> None:
        self._log = Log()
        native.llama_backend_init()
        self.handle = _load(paths)
        if not self.handle:
            raise EngineUnavailableError(
                "llama.cpp cannot load this model", actual=self._log.first
            )
        if not native.llama_model_has_decoder(self.handle):
            raise EngineUnavailableError("this model does not generate text")
        self.vocabulary = native.llama_model_get_vocab(self.handle)
        self._piece = ctypes.create_string_buffer(_PIECE_BYTES)

    @property
    def trained_tokens(self) -> int:
        """Context length the model was trained for."""
        return int(native.llama_model_n_ctx_train(self.handle))

    @property
    def vocabulary_size(self) -> int:
        """Tokens in the vocabulary."""
        return int(native.llama_vocab_n_tokens(self.vocabulary))

    @property
    def chat_template(self) -> str | None:
        """The Jinja source that the file carries, or None."""
        text = native.llama_model_chat_template(self.handle, None)
        return None if text is None else text.decode("utf-8", "replace")

    @property
    def bos_token(self) -> str:
        """Text of the token that begins a sequence, or an empty string."""
        return self._text(native.llama_vocab_bos(self.vocabulary))

    @property
    def eos_token(self) -> str:
        """Text of the token that ends a sequence, or an empty string."""
        return self._text(native.llama_vocab_eos(self.vocabulary))

    def longest_token_bytes(self) -> int | None:
        """Return how many bytes of UTF-8 one token stands for at most; None: any.

        Taken from the spellings in the file, which are never shorter than the text
        they stand for: byte-level BPE writes a byte as one or two, SPM a space as
        three and a lone byte as six (``<0x0A>``).
        """
        if native.llama_vocab_type(self.vocabulary) not in _BOUNDED_VOCABULARIES:
            return None
        longest = max(
            len(native.llama_vocab_get_text(self.vocabulary, token) or b"")
            for token in range(self.vocabulary_size)
        )
        return longest or None

    def control_texts(self) -> tuple[str, ...]:
        """Return the spelling of every token that can mark up a conversation.

        Besides control tokens these are the user-defined ones that look like
        markup: llama.cpp sees those in any text.
        """
        texts = (
            (self._text(token), native.llama_vocab_is_control(self.vocabulary, token))
            for token in range(self.vocabulary_size)
            if native.llama_vocab_get_attr(self.vocabulary, token) & _MARKS
        )
        return tuple(
            text for text, control in texts if text and (control or _MARKUP.match(text))
        )

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; control tokens are seen if ``special``."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        tokens = (native.llama_token * room)()
        count = native.llama_tokenize(
            self.vocabulary,
            data,
            len(data),
            tokens,
            room,
            _NO_ADDITIONS,
            special,
        )
        if count < 0:
            raise EngineUnavailableError("llama.cpp cannot tokenize a text")
        return list(tokens[:count])

    def begin(self, tokens: list[int]) -> list[int]:
        """Return ``tokens`` with exactly one BOS in front if the vocabulary asks."""
        bos = native.llama_vocab_bos(self.vocabulary)
        if native.llama_vocab_get_add_bos(self.vocabulary) and tokens[:1] != [bos]:
            return [bos, *tokens]
        return tokens

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to a text; control tokens add none."""
        while True:
            room = len(self._piece)
            size = native.llama_token_to_piece(
                self.vocabulary,
                token,
                self._piece,
                room,
                0,
                _HIDE_CONTROL,
            )
            if size >= 0:
                return self._piece.raw[:size]
            self._piece = ctypes.create_string_buffer(-size)

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(native.llama_vocab_is_eog(self.vocabulary, token))

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        text = native.llama_vocab_get_text(self.vocabulary, token)
        return "" if text is None else text.decode("utf-8", "replace")


def _load(paths: Sequence[str]) -> Any:  # noqa: ANN401 - a pointer of ctypes
    params = native.llama_model_default_params()
    encoded = [path.encode() for path in paths]
    if len(encoded) == 1:
        return native.llama_model_load_from_file(encoded[0], params)
    array = (ctypes.c_char_p * len(encoded))(*encoded)
    return native.llama_model_load_from_splits(array, len(encoded), params)


class Context:
    """A KV cache shared by all sequences, and the batch that feeds it.

    It is the scheduler's ``Decoder``.

    Raises:
        EngineUnavailableError: llama.cpp cannot make such a context.
    """

    def __init__(
        self,
        model: Model,
        *,
        cells: int,
        sequences: int,
        batch_tokens: int,
        threads: int,
    ) -> None:
        params = native.llama_context_default_params()
        params.n_ctx = cells
        params.n_seq_max = params.n_outputs_max = sequences
        params.n_batch = params.n_ubatch = batch_tokens
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.no_perf = True
        self._handle = native.llama_init_from_model(model.handle, params)
        if not self._handle or native.llama_n_ctx(self._handle) < cells:
            raise EngineUnavailableError("llama.cpp cannot make a context of that size")
        self._memory = native.llama_get_memory(self._handle)
        self._model = model
        self._outputs_max = sequences
        self._samplers: dict[int, Sampler] = {}
        self._batch = _Batch(batch_tokens)

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


class _Batch:
    """A ``llama_batch`` over numpy arrays of our own: filled without a loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._ones = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        first = self._sequences.ctypes.data
        self._pointers = (ctypes.c_void_p * size)(*range(first, first + 4 * size, 4))
        self.native = native.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, native.llama_token),
            pos=_pointer(self._positions, native.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=ctypes.cast(
                self._pointers, ctypes.POINTER(ctypes.POINTER(native.llama_seq_id))
            ),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def fill(self, slices: Sequence[Slice]) -> list[int | None]:
        """Lay the slices out; return for each the index of its output, or None."""
        if sum(len(part.tokens) for part in slices) > self._size:
            raise EngineUnavailableError("a batch holds more tokens than allowed")
        outputs: list[int | None] = []
        begin = 0
        self._wanted[:] = 0
        for part in slices:
            end = begin + len(part.tokens)
            self._tokens[begin:end] = part.tokens
            self._positions[begin:end] = np.arange(
                part.position, part.position + end - begin
            )
            self._sequences[begin:end] = part.sequence
            if part.wants_token:
                self._wanted[end - 1] = 1
            outputs.append(end - 1 if part.wants_token else None)
            begin = end
        self.native.n_tokens = begin
        return outputs


def _pointer(array: "np.ndarray[Any, Any]", kind: type) -> Any:  # noqa: ANN401  # ctypes pointer types are made at run time
    return array.ctypes.data_as(ctypes.POINTER(kind))
