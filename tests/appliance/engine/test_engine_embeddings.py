"""The real process makes vectors: batched, shared, refused, and started again."""

import asyncio
import os
import signal
from array import array
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import numpy.typing as npt
import pytest

from appliance.engine.embedding import Inputs
from appliance.engine.port import Ticket
from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import EngineUnavailableError, UnsuitableModelError
from tests.support.demo_engine import freeze, ready, running, thaw, with_engine
from tests.support.gguf_writer import TinyModel, family, write_model

pytestmark = pytest.mark.system

TEXTS = tuple(f"the auditor reads record {n} " * (1 + n % 12) for n in range(40))


async def hold(
    engine: EngineSupervisor, name: str, *texts: str, tenant: str = "red"
) -> Ticket:
    return await engine.prepare_inputs(
        name, tenant=tenant, inputs=Inputs(texts=texts), dimensions=None
    )


async def finish(engine: EngineSupervisor, ticket: Ticket) -> npt.NDArray[np.float32]:
    vectors = [v async for part in engine.embed(ticket) for v in part.vectors]
    return np.array([np.frombuffer(vector, "<f4") for vector in vectors])


async def embed(
    engine: EngineSupervisor, name: str, *texts: str
) -> npt.NDArray[np.float32]:
    return await finish(engine, await hold(engine, name, *texts))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(family("bert"), id="mean"),
        pytest.param(
            family("bert", pooling=gguf.PoolingType.CLS),
            marks=pytest.mark.slow,
            id="first",
        ),
        pytest.param(
            family("qwen3", pooling=gguf.PoolingType.LAST), id="last-of-a-causal-one"
        ),
    ],
)
def test_many_texts_at_once_have_the_vectors_of_each_alone(
    tmp_path: Path, model: TinyModel
) -> None:
    async def run(engine: EngineSupervisor) -> None:
        together = await embed(engine, "all", *TEXTS)
        steps = (await engine.stats()).steps
        alone = [await embed(engine, f"{n}", text) for n, text in enumerate(TEXTS)]
        assert steps < len(TEXTS) / 2
        assert together.shape == (len(TEXTS), 64)
        assert np.abs(together - np.concatenate(alone)).max() < 1e-3
        assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-6
        likeness = together @ together.T
        assert (likeness - np.eye(len(TEXTS)) * 2).max() < 0.9999

    with_engine(run, model=write_model(tmp_path / "model.gguf", model))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(family("bert"), id="encoder"),
        pytest.param(family("qwen3", pooling=gguf.PoolingType.LAST), id="causal"),
    ],
)
def test_vectors_are_those_that_llama_cpp_python_makes_by_itself(
    tmp_path: Path, model: TinyModel
) -> None:
    path = write_model(tmp_path / "model.gguf", model)
    theirs = llama_cpp.Llama(
        str(path), embedding=True, n_ctx=512, n_threads=1, verbose=False
    )
    told = theirs.create_embedding(list(TEXTS[:8]))
    theirs.close()
    expected = np.array([item["embedding"] for item in told["data"]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    async def run(engine: EngineSupervisor) -> None:
        ticket = await hold(engine, "r", *TEXTS[:8])
        assert ticket.prompt_tokens == told["usage"]["prompt_tokens"]
        assert np.abs(await finish(engine, ticket) - expected).max() < 1e-3

    with_engine(run, model=path)


def test_several_callers_share_a_batch_and_each_gets_its_own(tmp_path: Path) -> None:
    async def run(engine: EngineSupervisor) -> None:
        alone = [await embed(engine, f"a{n}", text) for n, text in enumerate(TEXTS[:6])]
        tickets = [
            await hold(engine, f"t{n}", text, tenant=f"team-{n % 3}")
            for n, text in enumerate(TEXTS[:6])
        ]
        before = (await engine.stats()).steps
        freeze(engine)
        work = [asyncio.ensure_future(finish(engine, ticket)) for ticket in tickets]
        await asyncio.sleep(0.05)
        thaw(engine)
        together = await asyncio.gather(*work)
        assert (await engine.stats()).steps - before <= 2
        assert np.abs(np.array(alone) - np.array(together)).max() < 1e-3

    with_engine(run, model=write_model(tmp_path / "model.gguf", family("bert")))


def test_a_team_with_one_text_does_not_wait_for_a_team_with_hundreds(
    tmp_path: Path,
) -> None:
    async def run(engine: EngineSupervisor) -> None:
        heavy = await hold(engine, "heavy", *(["record " * 300] * 300), tenant="heavy")
        working = asyncio.ensure_future(finish(engine, heavy))
        await asyncio.sleep(0.05)
        before = (await engine.stats()).steps
        await finish(engine, await hold(engine, "light", "hello", tenant="light"))
        assert (await engine.stats()).steps - before < 20
        assert not working.done()
        used = await engine.cancel("heavy")
        assert 0 < used.prompt_tokens < heavy.prompt_tokens
        await working

    with_engine(run, model=write_model(tmp_path / "model.gguf", family("bert")))


def test_a_model_that_writes_text_makes_no_vectors() -> None:
    async def run(engine: EngineSupervisor) -> None:
        with pytest.raises(UnsuitableModelError) as caught:
            await hold(engine, "r", "hello")
        assert (caught.value.code, caught.value.param) == ("unsuitable-model", "model")
        assert caught.value.http_status == 400
        assert (await engine.stats()).prepared == 0

    with_engine(run)


def start(model: Path) -> EngineSupervisor:
    """Try to start a model; whatever becomes of it, no process is left."""

    async def run() -> EngineSupervisor:
        async with running(model, load_timeout_s=60) as engine:
            return engine

    return asyncio.run(run())


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(family("bert", pooling=gguf.PoolingType.RANK), id="ranks"),
        pytest.param(family("bert", pooling=None), id="does-not-say"),
        pytest.param(
            family("bert", pooling=gguf.PoolingType.NONE),
            marks=pytest.mark.slow,
            id="pools-nothing",
        ),
    ],
)
def test_a_model_that_makes_neither_text_nor_one_vector_is_not_loaded(
    tmp_path: Path, model: TinyModel
) -> None:
    with pytest.raises(EngineUnavailableError):
        start(write_model(tmp_path / "model.gguf", model))


def test_a_model_whose_vectors_are_no_numbers_is_not_loaded(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", family("bert"))
    tensor = next(
        t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd_norm.weight"
    )
    with path.open("r+b") as file:
        file.seek(tensor.data_offset)
        file.write(array("f", [float("nan")]).tobytes())
    with pytest.raises(EngineUnavailableError):
        start(path)


def test_callers_of_a_process_that_dies_get_an_error_and_the_next_get_vectors(
    tmp_path: Path,
) -> None:
    async def run(engine: EngineSupervisor) -> None:
        tickets = [
            await hold(engine, f"r{n}", *(["record " * 300] * 500)) for n in range(2)
        ]
        work = [asyncio.ensure_future(finish(engine, ticket)) for ticket in tickets]
        await asyncio.sleep(0.05)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        for result in await asyncio.gather(*work, return_exceptions=True):
            assert isinstance(result, EngineUnavailableError)
        await ready(engine)
        assert (await embed(engine, "next", "hello")).shape == (1, 64)

    with_engine(run, model=write_model(tmp_path / "model.gguf", family("bert")))
