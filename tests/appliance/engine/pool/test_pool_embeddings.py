"""A model that makes vectors shares the room with models that write text."""

from pathlib import Path

import pytest

from appliance.engine.embedding import Inputs
from tests.support.gguf_writer import family, write_model
from tests.support.pools import Pool, play, write_models

pytestmark = pytest.mark.system


def test_it_is_loaded_when_it_is_asked_and_makes_room_for_another(
    tmp_path: Path,
) -> None:
    (writer,) = write_models(tmp_path, "writer")
    vectors = write_model(tmp_path / "vectors.gguf", family("bert"))

    async def embed(pool: Pool) -> int:
        engine = pool.engine("vectors")
        ticket = await engine.prepare_inputs(
            "e", tenant="red", inputs=Inputs(texts=("a", "b", "c")), dimensions=None
        )
        return sum([len(part.vectors) async for part in engine.embed(ticket)])

    async def story(pool: Pool) -> None:
        assert await pool.ask("writer") == 2
        assert await embed(pool) == 3
        assert pool.loaded() == ["vectors"]
        assert await pool.ask("writer") == 2
        assert pool.loaded() == ["writer"]

    play((writer, vectors), story, resident=1)
