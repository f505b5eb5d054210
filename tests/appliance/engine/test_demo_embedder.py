"""The demo embedder, through the real engine: a question lies nearest its answer."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from appliance.engine.embedding import Inputs
from appliance.engine.supervisor import EngineSupervisor
from bundler.demo.model.facts import read_facts
from tests.support.demo_engine import with_engine

pytestmark = pytest.mark.system

EMBEDDER = (
    Path(__file__).resolve().parents[3]
    / "bundler/demo/sallyport-demo-embedder.q8_0.gguf"
)
MOST_BYTES = 2_000_000
LEAST_RIGHT = 0.97
FACTS = read_facts()


async def vectors(
    engine: EngineSupervisor, name: str, texts: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    ticket = await engine.prepare_inputs(
        name, tenant="red", inputs=Inputs(texts=texts), dimensions=None
    )
    made = [v async for part in engine.embed(ticket) for v in part.vectors]
    return np.array([np.frombuffer(vector, "<f4") for vector in made])


def test_it_is_small() -> None:
    assert EMBEDDER.stat().st_size <= MOST_BYTES


def test_a_question_is_nearest_to_its_own_answer() -> None:
    async def test(engine: EngineSupervisor) -> None:
        answers = await vectors(engine, "a", tuple(fact.answer for fact in FACTS))
        asked = await vectors(engine, "q", tuple(fact.asked()[0] for fact in FACTS))
        nearest = (asked @ answers.T).argmax(axis=1)
        right = int((nearest == np.arange(len(FACTS))).sum())
        assert right >= LEAST_RIGHT * len(FACTS)

    with_engine(test, model=EMBEDDER)
