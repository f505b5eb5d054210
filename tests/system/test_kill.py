"""``kill -9`` under load, again and again: no lost record, every outcome known."""

import contextlib
import random
import threading
import time
from pathlib import Path

import openai

from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_api import messages

ROUNDS = 6


def load(host: RealHost, stop: threading.Event, seen: set[str]) -> None:
    """Ask until told to stop; remember every request whose answer was whole."""
    with host.client() as client:
        while not stop.is_set():
            with contextlib.suppress(openai.APIError):
                answer = client.chat.completions.create(
                    model="demo", messages=messages(), temperature=0, max_tokens=8
                )
                seen.add(answer.id)


def test_kill_at_random_points_loses_nothing(tmp_path: Path, demo_model: Path) -> None:
    host = commission(tmp_path, models=[("demo", demo_model)], settings=SETTINGS)
    seen: set[str] = set()
    chance = random.Random(5)  # noqa: S311 - moments, not secrets
    for _ in range(ROUNDS):
        host.start()
        stop = threading.Event()
        callers = [
            threading.Thread(target=load, args=(host, stop, seen)) for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        time.sleep(chance.uniform(0.2, 1.2))
        host.kill()
        stop.set()
        for caller in callers:
            caller.join()
    with serving(host), host.client() as client:
        answer = client.chat.completions.create(
            model="demo", messages=messages(), max_tokens=4
        )
    assert answer.choices
    assert seen
    asked = {record["request_id"] for record in host.records("llm.request")}
    ended = {record["request_id"] for record in host.records("llm.response")}
    aborted = {record["request_id"] for record in host.records("llm.aborted")}
    assert seen <= ended
    assert asked == ended | aborted
    assert not ended & aborted
    numbers = [int(record["seq"]) for record in host.records()]
    assert numbers == list(range(len(numbers)))
    assert host.run("audit", "fsck").returncode == 0
