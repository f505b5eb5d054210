"""llama.cpp's log outlives the model that it was set up for."""

import gc
from pathlib import Path

import llama_cpp
import pytest

from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from tests.support.gguf_writer import family, write_model


def test_who_loads_a_model_after_another_is_forgotten_is_not_killed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path / "model.gguf", family("llama"))
    parameters = Parameters(
        cells=256, sequences=1, outputs=1, batch_tokens=64, threads=1, unified=True
    )
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    for _ in range(3):
        Model(str(path), parameters=parameters)
        gc.collect()
        with pytest.raises(ValueError, match="model"):
            llama_cpp.Llama(str(broken), verbose=True)
    assert "llama.cpp: " in capfd.readouterr().err
