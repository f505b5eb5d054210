"""What is chosen without a chain is what llama.cpp's own chain would choose."""

from pathlib import Path

import llama_cpp.llama_cpp as native
import pytest

from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
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
