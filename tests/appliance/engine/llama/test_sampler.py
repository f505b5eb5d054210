"""What is chosen is what llama.cpp's own chains over the vocabulary would choose."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as native
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.llama.candidates import GROUP, Logits, likeliest, logits_at
from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.llama.sampler import Sampler
from appliance.engine.port import Sampling
from appliance.engine.scheduling.decoder import Slice, Undone
from tests.support.gguf_writer import family, write_model


class Checked(Context):
    """A context that asks llama.cpp's greedy sampler as well."""

    def __init__(self, model: Model, parameters: Parameters) -> None:
        super().__init__(model, parameters)
        self.theirs: list[int] = []
        self._chain = native.llama_sampler_init_greedy()

    def _sample(self, part: Slice, *, end: int) -> list[int]:
        sampled = native.llama_sampler_sample(self._chain, self._handle, end - 1)
        self.theirs.append(sampled)
        return list(super()._sample(part, end=end))


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_the_likeliest_token_is_that_of_the_greedy_sampler(
    name: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.gguf", family(name))
    parameters = Parameters(
        cells=512, sequences=3, outputs=3, batch_tokens=64, threads=1, unified=True
    )
    context = Checked(Model(str(path), parameters=parameters), parameters)
    for sequence in range(3):
        context.open(
            sequence,
            sampling=Sampling(temperature=0),
            max_new_tokens=99,
            generated=(),
        )
    tokens = [20, 40, 60]
    ours: list[int] = []
    for position in range(20):
        batch = [
            Slice(sequence=n, position=position, tokens=(token,), wants_token=True)
            for n, token in enumerate(tokens)
        ]
        answer = context.decode(batch)
        assert not isinstance(answer, Undone)
        tokens = [each[0] for each in answer]
        ours += tokens
    assert ours == context.theirs
    assert len(set(ours)) > 1
    context.close()


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 40 * GROUP),
    count=st.integers(1, 30),
    levels=st.sampled_from((3, 50, 10**6)),
)
def test_the_likeliest_are_those_that_sorting_finds(
    seed: int, size: int, count: int, levels: int
) -> None:
    """With few levels many are equally likely."""
    random = np.random.default_rng(seed)
    logits = random.integers(0, levels, size).astype(np.float32)
    logits[random.random(size) < 0.1] = -np.inf
    found = likeliest(logits, count)
    if size // GROUP <= count:
        assert list(found) == list(range(size))
        return
    bound = np.sort(logits)[-count]
    assert list(found) == list(np.flatnonzero(logits >= bound))
    assert len(found) >= count


DRAWS = 4_000


def shares(tokens: Sequence[int]) -> dict[int, float]:
    return {token: times / len(tokens) for token, times in Counter(tokens).items()}


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.3, 1.0), (0.5, 0.6)])
def test_tokens_are_drawn_as_often_as_they_are_likely(
    temperature: float, top_p: float, tmp_path: Path
) -> None:
    context, logits, handle = read(tmp_path)
    sampler = Sampler(
        Sampling(temperature=temperature, top_p=top_p, seed=5),
        vocabulary_size=len(logits),
        max_new_tokens=DRAWS,
        generated=(),
    )
    drawn = shares([sampler.sample(handle, output=0) for _ in range(DRAWS)])
    sampler.free()
    context.close()

    weights = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
    order = np.argsort(-weights)
    likely = weights[order] / weights.sum()
    kept = int(np.searchsorted(np.cumsum(likely), top_p)) + 1 if top_p < 1 else None
    order, likely = order[:kept], likely[:kept] / likely[:kept].sum()
    assert set(drawn) <= set(map(int, order))
    off = [abs(drawn.get(int(t), 0.0) - p) for t, p in zip(order, likely, strict=True)]
    assert max(off) < 4 * np.sqrt(0.25 / DRAWS)


def read(folder: Path) -> tuple[Context, Logits, int]:
    """A context that has read a token, its logits, and llama.cpp's handle of it."""
    path = write_model(folder / "model.gguf", family("llama"))
    parameters = Parameters(
        cells=512, sequences=1, outputs=1, batch_tokens=64, threads=1, unified=True
    )
    model = Model(str(path), parameters=parameters)
    context = Context(model, parameters)
    context.open(0, sampling=Sampling(temperature=0), max_new_tokens=9, generated=())
    context.decode([Slice(sequence=0, position=0, tokens=(9,), wants_token=True)])
    handle = context._handle
    return context, logits_at(handle, 0, model.vocabulary_size).copy(), handle
