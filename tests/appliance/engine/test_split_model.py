"""A model in parts is served as the whole one is, from files of any name."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.engine.port import Sampling
from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import EngineUnavailableError
from appliance.settings import EngineSettings
from tests.support.demo_engine import answer, running
from tests.support.gguf_writer import TinyModel, write_model, write_split_model

pytestmark = pytest.mark.system

MODEL = TinyModel(layers=3, seed=7)
GREEDY = Sampling(temperature=0, max_tokens=48)


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """The parts of a model, named as a store names files: by nothing in order."""
    found = write_split_model(tmp_path / "model.gguf", MODEL, tensors=9)
    assert len(found) > 2
    return [
        path.rename(tmp_path / f"{len(found) - index:x}".zfill(64))
        for index, path in enumerate(found)
    ]


async def _text(paths: Sequence[Path]) -> str:
    async with running(*paths) as engine:
        text, _ = await answer(engine, "r", text="hello tree", sampling=GREEDY)
    return text


def test_a_split_model_answers_as_the_same_model_in_one_file(
    tmp_path: Path, parts: list[Path]
) -> None:
    whole = write_model(tmp_path / "whole.gguf", MODEL)
    split, one = (asyncio.run(_text(paths)) for paths in (parts, [whole]))
    assert split == one
    assert split


@pytest.mark.parametrize("order", ["reversed", "doubled", "first only"])
def test_parts_that_are_not_the_model_end_one_process_and_nothing_else(
    parts: list[Path], order: str
) -> None:
    wrong = {
        "reversed": parts[::-1],
        "doubled": [parts[0], *parts[1:-1], parts[1]],
        "first only": parts[:1],
    }[order]

    async def start() -> None:
        engine = EngineSupervisor(*wrong, settings=EngineSettings(threads=1))
        with pytest.raises(EngineUnavailableError):
            await engine.start()
        assert engine.pid is None

    asyncio.run(start())
