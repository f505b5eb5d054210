"""A loaded model at llama.cpp's low-level API: its weights, its vocabulary, its words.

Runs in a worker process only: a failed assertion in ggml aborts the process.
Nothing is decided here.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as native

from appliance.engine.llama.log import Log
from appliance.engine.llama.parameters import Parameters, model_params, outline_params
from appliance.errors import EngineUnavailableError

_PIECE_BYTES = 256
_MARKS = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_USER_DEFINED
_MARKUP = re.compile(r"[<\[].+[>\]]\Z", re.DOTALL)

_METADATA_BYTES = 128
"""Longest value asked for; longer ones are cut off."""

_ADDITIONS, _NO_ADDITIONS = True, False
"""Whether ``llama_tokenize`` adds BOS and EOS by itself."""

_PLAIN = False
"""Control tokens are not seen in a text."""

_HIDE_CONTROL = False
"""Whether ``llama_token_to_piece`` spells control tokens out."""

_BOUNDED_VOCABULARIES = (native.LLAMA_VOCAB_TYPE_SPM, native.LLAMA_VOCAB_TYPE_BPE)
"""Kinds of vocabulary that spell every byte of a text they keep.

The others may shorten a text before they look at it, or write one token for a
whole word they do not know.
"""


class Model:
    """Weights and vocabulary of a model, from one file or from all its parts.

    Parts are given in order; their names say nothing, so files of a store do.
    ``parameters`` are those of the context to come. Without ``weights`` it can be
    measured and asked, but not run.

    Raises:
        EngineUnavailableError: llama.cpp cannot load it.
    """

    def __init__(
        self, *paths: str, parameters: Parameters, weights: bool = True
    ) -> None:
        self._log = Log()
        native.llama_backend_init()
        params = (model_params if weights else outline_params)(parameters)
        self.handle = _load(paths, params)
        if not self.handle:
            raise EngineUnavailableError(
                "llama.cpp cannot load this model", actual=self._log.first
            )
        self.vocabulary = native.llama_model_get_vocab(self.handle)
        self._piece = ctypes.create_string_buffer(_PIECE_BYTES)

    @property
    def trained_tokens(self) -> int:
        """Context length the model was trained for."""
        return int(native.llama_model_n_ctx_train(self.handle))

    @property
    def shares_cells(self) -> bool:
        """Whether sequences may hold cells in common, and be cut at any place.

        A sliding window drops cells that a shorter sequence would need, and a
        recurrent state cannot be taken apart.
        """
        return not (
            native.llama_model_is_recurrent(self.handle)
            or native.llama_model_is_hybrid(self.handle)
            or native.llama_model_n_swa(self.handle) > 0
        )

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

    def metadata(self, key: str) -> str:
        """Return a single value of the file as llama.cpp spells it, or nothing."""
        room = ctypes.create_string_buffer(_METADATA_BYTES)
        native.llama_model_meta_val_str(self.handle, key.encode(), room, len(room))
        return room.value.decode("utf-8", "replace")

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
        return self._tokenize(text, _NO_ADDITIONS, special)

    def framed(self, text: str) -> list[int]:
        """Return the tokens of ``text`` and what stands before and after a text."""
        return self._tokenize(text, _ADDITIONS, _PLAIN)

    def _tokenize(self, text: str, *flags: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        tokens = (native.llama_token * room)()
        count = native.llama_tokenize(
            self.vocabulary, data, len(data), tokens, room, *flags
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


def _load(paths: Sequence[str], params: native.llama_model_params) -> Any:  # noqa: ANN401 - a pointer of ctypes
    encoded = [path.encode() for path in paths]
    if len(encoded) == 1:
        return native.llama_model_load_from_file(encoded[0], params)
    array = (ctypes.c_char_p * len(encoded))(*encoded)
    return native.llama_model_load_from_splits(array, len(encoded), params)
