"""How one request's tokens are chosen: by llama.cpp's sampler chains, in C code.

Order: penalties, then greedy at temperature 0; otherwise the likeliest
:data:`CANDIDATES`, temperature, nucleus, draw, as vLLM and Transformers do it. A
step that would change nothing is left out. What the first cut leaves out are tokens
so unlikely that a nucleus reaches them only in a nearly flat distribution.

A chain begins with a copy of the whole vocabulary. Where no penalty needs that, the
largest are found without (``candidates.py``), and a chain gets them alone.
"""

import ctypes
import secrets
from collections.abc import Sequence

import llama_cpp.llama_cpp as native

from appliance.engine.llama.candidates import draw, likeliest, logits_at
from appliance.engine.port import Sampling

_SEEDS = 0xFFFF_FFFF
"""Seeds there are; the value itself means "random" to llama.cpp and is not used."""


CANDIDATES = 1_024
"""Likeliest tokens among which one is drawn."""


class Sampler:
    """One request's chain; ``free`` it exactly once."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        vocabulary_size: int,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        self._vocabulary_size = vocabulary_size
        self._chain = native.llama_sampler_chain_init(
            native.llama_sampler_chain_default_params()
        )
        self._greedy = sampling.temperature <= 0
        self._penalised = bool(sampling.frequency_penalty or sampling.presence_penalty)
        self._add_penalties(sampling, vocabulary_size, max_new_tokens)
        if self._greedy:
            self._add(native.llama_sampler_init_greedy())
        else:
            self._add_draw(sampling)
        for token in generated:
            native.llama_sampler_accept(self._chain, token)

    def sample(self, context: int, *, output: int) -> int:
        """Return the next token from the logits at ``output``, and remember it."""
        if self._penalised:
            return int(native.llama_sampler_sample(self._chain, context, output))
        logits = logits_at(context, output, self._vocabulary_size)
        if self._greedy:
            return int(logits.argmax())
        return draw(self._chain, logits, likeliest(logits, CANDIDATES))

    def free(self) -> None:
        """Give the chain's memory back."""
        native.llama_sampler_free(self._chain)

    def _add(self, sampler: ctypes.c_void_p) -> None:
        native.llama_sampler_chain_add(self._chain, sampler)

    def _add_penalties(
        self, sampling: Sampling, vocabulary_size: int, max_new_tokens: int
    ) -> None:
        """Penalise over the whole answer, never over the prompt, as OpenAI does."""
        if self._penalised:
            self._add(
                native.llama_sampler_init_penalties(
                    vocabulary_size,
                    max_new_tokens,
                    1.0,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )

    def _add_draw(self, sampling: Sampling) -> None:
        if self._penalised:
            self._add(native.llama_sampler_init_top_k(CANDIDATES))
        if sampling.temperature != 1:
            self._add(native.llama_sampler_init_temp(sampling.temperature))
        if sampling.top_p < 1:
            self._add(native.llama_sampler_init_top_p(sampling.top_p, 1))
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self._add(native.llama_sampler_init_dist(seed % _SEEDS))
