"""The real process crashes, hangs, is closed; and what it may not do meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import EngineUnavailableError, RequestRefusedError
from appliance.settings import EngineSettings
from tests.support.demo_engine import (
    ANSWER,
    DEMO_MODEL,
    GREEDY,
    RAMBLING,
    answer,
    asks,
    freeze,
    hold,
    ready,
    retemplated,
    running,
    with_engine,
)
from tests.support.gguf_writer import TinyModel, write_model

pytestmark = pytest.mark.system


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_engine_fails_its_callers_and_is_started_again() -> None:
    async def run(engine: EngineSupervisor) -> None:
        pid = engine.pid
        assert pid is not None
        ticket = await hold(engine, "r", sampling=RAMBLING)
        held = await hold(engine, "held")
        freeze(engine)
        asked = asyncio.ensure_future(anext(engine.generate(ticket)))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError) as caught:
            await asked
        assert caught.value.code == "engine-unavailable"
        assert (await engine.cancel("r")).prompt_tokens == ticket.prompt_tokens
        with pytest.raises(EngineUnavailableError):
            await hold(engine, "early")
        assert not engine.ready
        await ready(engine)
        assert engine.pid != pid
        assert engine.restarts == 1
        with pytest.raises(EngineUnavailableError):
            await anext(engine.generate(held))
        assert (await answer(engine, "after"))[0] == ANSWER

    with_engine(run)


def test_engine_that_hangs_is_killed_and_started_again() -> None:
    async def run(engine: EngineSupervisor) -> None:
        pid = engine.pid
        freeze(engine)
        began = time.monotonic()
        with pytest.raises(EngineUnavailableError):
            await hold(engine, "r")
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.1)
        await ready(engine)
        assert engine.pid != pid
        assert (await answer(engine, "after"))[0] == ANSWER

    with_engine(run, reply_timeout_s=1)


def test_engine_that_hangs_while_it_answers_is_found_by_the_watchdog() -> None:
    async def run(engine: EngineSupervisor) -> None:
        ticket = await hold(engine, "r", sampling=RAMBLING)
        freeze(engine)
        with pytest.raises(EngineUnavailableError):
            [piece async for piece in engine.generate(ticket)]
        await ready(engine)
        assert engine.restarts == 1

    with_engine(run, reply_timeout_s=1)


def test_chat_template_without_end_costs_one_restart_and_not_the_gateway(
    tmp_path: Path,
) -> None:
    loop = "{% for i in range(99999) %}"
    template = f"{loop * 5}{{% endfor %}}" + "{% endfor %}" * 4
    model = retemplated(tmp_path, template)

    async def run(engine: EngineSupervisor) -> None:
        with pytest.raises(EngineUnavailableError):
            await hold(engine, "r")
        await asyncio.sleep(0.1)
        await ready(engine)
        assert engine.restarts == 1

    with_engine(run, model=model, reply_timeout_s=1)


def test_chat_template_that_refuses_tells_the_caller_and_holds_no_place(
    tmp_path: Path,
) -> None:
    model = retemplated(tmp_path, "{{ raise_exception('roles must alternate') }}")

    async def run(engine: EngineSupervisor) -> None:
        with pytest.raises(RequestRefusedError) as caught:
            await hold(engine, "r")
        assert caught.value.code == "invalid-request"
        assert (await engine.stats()).prepared == 0

    with_engine(run, model=model)


@pytest.mark.parametrize("kept", [0, 377, 100_000])
def test_file_that_is_no_model_is_refused_and_leaves_no_process(
    tmp_path: Path, kept: int
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(DEMO_MODEL.read_bytes()[:kept])

    async def run() -> None:
        engine = EngineSupervisor(broken, settings=EngineSettings(threads=1))
        with pytest.raises(EngineUnavailableError):
            await engine.start()
        assert engine.pid is None
        assert not engine.ready
        await engine.close()

    asyncio.run(run())


def test_close_ends_the_process_and_its_callers() -> None:
    async def run() -> None:
        async with running() as engine:
            pid = engine.pid
            ticket = await hold(engine, "r", sampling=RAMBLING)
            pieces = engine.generate(ticket)
            await anext(pieces)
        assert pid is not None
        assert not alive(pid)
        with pytest.raises(EngineUnavailableError):
            [piece async for piece in pieces]
        with pytest.raises(EngineUnavailableError):
            await hold(engine, "late")

    asyncio.run(run())


def test_close_right_after_the_start_leaves_no_process() -> None:
    async def play() -> int:
        async with running() as engine:
            assert engine.pid is not None
            return engine.pid

    pid = asyncio.run(play())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_engine_dies_with_a_gateway_that_cannot_say_goodbye() -> None:
    script = f"""
import asyncio, sys
from tests.support.demo_engine import running
async def main():
    async with running() as engine:
        print(engine.pid, flush=True)
        await asyncio.sleep(60)
sys.path.insert(0, {str(Path.cwd())!r})
asyncio.run(main())
"""
    gateway = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=DEMO_MODEL.parents[2],
    )
    with gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # a stopped process cannot see its socket close
        gateway.kill()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_engine_process_is_contained() -> None:
    async def run(engine: EngineSupervisor) -> None:
        process = Path(f"/proc/{engine.pid}")
        status = dict(
            line.split(":\t", 1)
            for line in (process / "status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert (process / "oom_score_adj").read_text() == "800\n"
        assert os.getsid(engine.pid or 0) == engine.pid
        names = {
            entry.split("=")[0]
            for entry in (process / "environ").read_text().split("\0")
            if entry
        }
        assert names == {"LANG", "GGML_NO_BACKTRACE", "OPENBLAS_NUM_THREADS"}
        assert "Max core file size        0" in (process / "limits").read_text()

    with_engine(run)


def test_contained_worker_cannot_open_an_internet_socket() -> None:
    script = """
import errno, os, socket
from appliance.engine.worker.contain import contain
contain(os.getppid())
try:
    socket.socket(socket.AF_INET)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "EAFNOSUPPORT\n"


@pytest.mark.parametrize("pre_tokenizer", ["gpt-4o", "tekken", "deepseek-llm"])
def test_a_prompt_without_a_space_does_not_crash_the_tokenizer(
    tmp_path: Path, pre_tokenizer: str
) -> None:
    model = write_model(
        tmp_path / "model.gguf",
        TinyModel(context=131_072, pre_tokenizer=pre_tokenizer),
    )

    async def play() -> int:
        async with running(model, context_tokens=131_072, cells=131_072) as engine:
            ticket = await engine.prepare(
                "long", tenant="t", messages=asks("a" * 60_000), sampling=GREEDY
            )
            await engine.cancel("long")
            assert engine.restarts == 0
            return ticket.prompt_tokens

    assert asyncio.run(play()) > 1_000
