"""Real engines of small models, more of them than there is room for."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import (
    EngineUnavailableError,
    ModelLoadingError,
    ModelUnavailableError,
    NoRoomError,
    OverloadedError,
)
from bundleformat.errors import DigestMismatchError
from tests.support.pools import (
    SIZE,
    FixedBudget,
    Pool,
    engine_processes,
    play,
    refused,
    stream,
    until,
    write_models,
)

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write_models(tmp_path_factory.mktemp("pool"), "a", "b", "c")


@contextlib.contextmanager
def held(pool: Pool, name: str) -> Iterator[asyncio.Event]:
    """Hold the loads of a model up before any process is started."""
    gate = pool.model(name).gate = asyncio.Event()
    yield gate
    gate.set()


async def patient(pool: Pool, name: str) -> int:
    """Have an answer; come back when it is refused for now, as a client does."""
    while True:
        with contextlib.suppress(OverloadedError):
            return await pool.ask(name, "patient")


async def crashed(pool: Pool, times: int) -> None:
    await until(lambda: len(pool.crashes) == times)


def test_all_are_answered_and_the_least_recently_used_makes_room(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        assert await pool.pool.warm() == ()
        assert pool.loaded() == ["a", "b"]
        assert len(engine_processes()) == 2
        assert await pool.ask("c") == 2
        assert pool.loaded() == ["b", "c"]
        assert await pool.ask("b") == 2
        assert await pool.ask("a") == 2
        assert pool.loaded() == ["b", "a"]
        assert len(engine_processes()) == 2
        assert [model.starts for model in pool.models] == [2, 1, 1]

    play(three, story)


def test_memory_makes_room_as_the_number_of_engines_does(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        assert await pool.pool.warm() == ()
        assert pool.loaded() == ["a", "b"]
        await pool.ask("c")
        assert pool.loaded() == ["c"]

    needs = {"c": 2 * SIZE}
    play(three, story, budget=FixedBudget(2 * SIZE, needs), resident=3)


def test_a_pinned_model_is_loaded_first_and_stays(three: tuple[Path, ...]) -> None:
    async def story(pool: Pool) -> None:
        await pool.pool.warm()
        assert set(pool.loaded()) == {"a", "c"}
        for name in ("b", "a", "b"):
            await pool.ask(name)
        assert set(pool.loaded()) == {"b", "c"}
        assert pool.model("c").starts == 1

    play(three, story, pinned=["c"])


def test_a_model_that_fits_beside_no_pinned_one_is_refused_at_once_with_numbers(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        await pool.pool.warm()
        error = await refused(pool, "b")
        assert isinstance(error, NoRoomError)
        assert (error.needed_bytes, error.free_bytes) == (3 * SIZE, 2 * SIZE)
        assert (error.engines, error.most_engines) == (1, 2)
        assert pool.loaded() == ["a"]
        assert len(engine_processes()) == 1

    budget = FixedBudget(3 * SIZE, {"b": 3 * SIZE})
    play(three[:2], story, pinned=["a"], budget=budget)


def test_a_model_in_use_is_never_unloaded(three: tuple[Path, ...]) -> None:
    async def story(pool: Pool) -> None:
        await pool.pool.warm()
        long = stream(pool.engine("a"), "long")
        other = stream(pool.engine("b"), "other")
        await anext(long)
        await anext(other)
        pool.stop("a")
        pool.stop("b")
        error = await refused(pool, "c")
        assert isinstance(error, NoRoomError)
        assert error.retry_after_s >= 1
        assert set(pool.loaded()) == {"a", "b"}
        waiting = asyncio.create_task(patient(pool, "c"))
        await asyncio.sleep(0.1)
        pool.go_on("b")
        # Whoever is idle first makes room for the one that waits.
        assert [piece async for piece in other][-1].finish_reason == "length"
        assert await waiting == 2
        assert set(pool.loaded()) == {"a", "c"}
        pool.go_on("a")
        assert [piece async for piece in long][-1].finish_reason == "length"

    play(three, story, load_wait_s=1)


def test_many_requests_for_one_unloaded_model_cause_one_load(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        asked = [pool.ask("a", f"r{number}") for number in range(20)]
        assert await asyncio.gather(*asked) == [2] * 20
        assert pool.model("a").starts == 1
        assert len(engine_processes()) == 1

    play(three[:1], story)


def test_more_requests_than_places_are_refused_while_they_wait(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        with held(pool, "a"):
            tasks = [asyncio.create_task(pool.ask("a", f"r{n}")) for n in range(85)]
            done, _ = await asyncio.wait(tasks, timeout=0.5)
        # 16 may run and 64 may wait; the others hear so before anything is loaded.
        assert len(done) == 5
        assert all(isinstance(task.exception(), OverloadedError) for task in done)
        answered = await asyncio.gather(*tasks, return_exceptions=True)
        assert answered.count(2) == 80

    play(three[:1], story)


def test_a_load_that_is_slow_holds_up_nobody_else(three: tuple[Path, ...]) -> None:
    async def story(pool: Pool) -> None:
        with held(pool, "b"):
            warming = asyncio.create_task(pool.pool.warm())
            await until(lambda: pool.loaded() == ["a"])
            error = await refused(pool, "b")
            assert isinstance(error, ModelLoadingError)
            assert error.retry_after_s >= 1
            assert await pool.ask("a") == 2
            assert pool.loaded() == ["a"]
        # Nobody waited to the end, and the load went on.
        assert await warming == ()
        assert pool.loaded() == ["a", "b"]
        assert await pool.ask("b") == 2
        assert pool.model("b").starts == 1

    play(three[:2], story, load_wait_s=1)


def test_a_waiter_that_leaves_stops_no_load_and_holds_no_place(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        with held(pool, "a"):
            leaving = asyncio.create_task(pool.ask("a", "leaving"))
            staying = asyncio.create_task(pool.ask("a", "staying"))
            await asyncio.sleep(0.1)
            leaving.cancel()
        assert await staying == 2
        assert (await pool.engine("a").cancel("leaving")).completion_tokens == 0
        await pool.ask("b")
        assert await pool.ask("c") == 2
        assert pool.loaded() == ["b", "c"]

    play(three, story)


def test_a_load_that_fails_is_told_and_leaves_the_others_serving(
    three: tuple[Path, ...], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(three[0].read_bytes()[:377])

    async def story(pool: Pool) -> None:
        assert [error.code for error in await pool.pool.warm()] == [
            "engine-unavailable"
        ]
        assert pool.loaded() == ["a"]
        error = await refused(pool, "broken")
        assert isinstance(error, ModelUnavailableError)
        assert error.retry_after_s is not None
        assert str(tmp_path) not in error.text()
        assert pool.model("broken").starts == 1
        assert [*pool.pool.failures()] == [pool.model("broken").sha256]
        assert await pool.ask("a") == 2
        # It is tried again, ever more rarely, and not once for every request.
        await until(lambda: pool.model("broken").starts == 2)
        await refused(pool, "broken")
        assert pool.model("broken").starts == 2

    play([three[0], broken], story)


def test_bytes_that_are_not_the_admitted_ones_are_no_callers_fault(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        async def changed() -> None:
            raise DigestMismatchError("a stored model has changed", where="a")

        pool.model("a").check = changed  # type: ignore[method-assign]
        pool.pool.offer([pool.model("a").offer()])
        error = await refused(pool, "a")
        assert isinstance(error, ModelUnavailableError)
        assert error.http_status == 503
        assert engine_processes() == set()

    play(three[:1], story)


def test_what_nobody_asks_for_is_unloaded_unless_it_is_pinned(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        await pool.pool.warm()
        assert pool.loaded() == ["a", "b"]
        await until(lambda: pool.loaded() == ["a"])
        assert await pool.ask("b") == 2

    play(three[:2], story, pinned=["a"], keep_alive_s=1)


def test_two_models_load_at_once_if_there_is_room_for_both(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        asked = [asyncio.create_task(pool.ask(n, n)) for n in ("a", "b", "c")]
        await until(lambda: len(engine_processes()) == 2)
        loading = engine_processes()
        for pid in loading:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.3)
        assert engine_processes() == loading
        assert pool.loaded() == []
        for pid in loading:
            os.kill(pid, signal.SIGCONT)
        assert await asyncio.gather(*asked) == [2, 2, 2]

    play(three, story)


def test_models_that_work_at_once_share_the_threads_of_the_host(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        assert await pool.threads("a") == 2
        running = stream(pool.engine("a"), "running")
        await anext(running)
        pool.stop("a")
        await pool.ask("b")
        assert await pool.threads("b") == 1
        pool.go_on("a")
        assert await pool.threads("a") == 1
        await running.aclose()
        await until(lambda: not pool.supervisor("a").open_requests)
        await pool.ask("b")
        assert await pool.threads("b") == 2
        # A process that is started again keeps to its share.
        os.kill(pool.pid("b"), signal.SIGKILL)
        await crashed(pool, 1)
        await until(lambda: pool.supervisor("b").ready)
        assert await pool.threads("b") == 2

    play(three[:2], story, threads=2)


def test_a_pool_that_is_closed_during_a_load_leaves_nothing(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        asked = asyncio.create_task(pool.ask("a"))
        await until(engine_processes)
        await pool.pool.close()
        with pytest.raises(EngineUnavailableError):
            await asked
        assert engine_processes() == set()
        with pytest.raises(EngineUnavailableError):
            await pool.ask("b")

    play(three[:2], story)


def test_a_model_that_is_offered_no_more_ends_with_its_requests(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        engine = pool.engine("b")
        await pool.ask("a")
        running = stream(engine, "running")
        await anext(running)
        pool.pool.keep_only({pool.model("a").sha256})
        assert [piece async for piece in running][-1].finish_reason == "length"
        await until(lambda: len(engine_processes()) == 1)
        with pytest.raises(EngineUnavailableError):
            await anext(stream(engine, "late"))
        assert await pool.ask("a") == 2

    play(three[:2], story)


def test_a_model_that_is_offered_no_more_while_it_loads(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        with held(pool, "a"), held(pool, "b"):
            waited_for = asyncio.create_task(pool.ask("a"))
            unwanted = asyncio.create_task(pool.pool.warm())
            await asyncio.sleep(0.1)
            pool.pool.keep_only(())
        # Whoever waited is answered; what nobody waited for is not loaded at all.
        assert await waited_for == 2
        await unwanted
        await until(lambda: not engine_processes())
        assert pool.loaded() == []

    play(three[:2], story)


def test_a_model_that_crashes_too_often_is_taken_out_until_it_has_another_try(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        await pool.pool.warm()
        other = pool.pid("a")
        running = stream(pool.engine("b"), "running")
        await anext(running)
        for number in (1, 2, 3):
            await until(lambda: len(engine_processes()) == 2)
            (pid,) = engine_processes() - {other}
            os.kill(pid, signal.SIGKILL)
            await crashed(pool, number)
        # In-flight callers get a clean error at once.
        with pytest.raises(EngineUnavailableError):
            [piece async for piece in running]
        assert [(name, crash.died) for name, crash in pool.crashes] == [("b", True)] * 3
        error = await refused(pool, "b")
        assert isinstance(error, ModelUnavailableError)
        assert error.retry_after_s is None
        (out,) = pool.pool.taken_out().values()
        assert (out.name, out.crashes, out.exit_status) == ("b", 3, -signal.SIGKILL)
        await until(lambda: engine_processes() == {other})
        assert await pool.ask("a") == 2
        assert pool.loaded() == ["a"]
        # A generation without it, and one with it again, are no other try.
        pool.pool.keep_only({pool.model("a").sha256})
        pool.pool.offer([pool.model("b").offer()])
        assert isinstance(await refused(pool, "b"), ModelUnavailableError)
        pool.pool.give_another_try(pool.model("b").sha256)
        assert await pool.ask("b") == 2
        assert not pool.pool.taken_out()

    play(three[:2], story)


def test_a_process_that_dies_while_it_loads_counts_as_a_crash(
    three: tuple[Path, ...],
) -> None:
    async def story(pool: Pool) -> None:
        for crashes in (1, 2):
            asked = asyncio.create_task(pool.ask("a"))
            await until(engine_processes)
            (pid,) = engine_processes()
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ModelUnavailableError):
                await asked
            assert len(pool.crashes) == crashes
            assert pool.crashes[-1][1].died
            assert engine_processes() == set()
            await asyncio.sleep(1.1)
        assert [out.name for out in pool.pool.taken_out().values()] == ["a"]
        assert await pool.ask("b") == 2

    play(three[:2], story, crash_limit=2)
