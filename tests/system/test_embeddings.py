"""The official client asks a real server for embeddings, with strict validation."""

import base64
import os
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests.support.gguf_writer import family, write_model
from tests.support.real_host import RealHost, commission, serving

SETTINGS = """\
[server]
inputs = 100

[engine]
threads = 1
context_tokens = 256
cells = 512
sequences = 2
queued_requests = 2
"""

TEXTS = [f"record {n} has a place in the tree. " * (1 + n % 5) for n in range(24)]


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, demo_model: Path
) -> Iterator[RealHost]:
    folder = tmp_path_factory.mktemp("host")
    vectors = write_model(folder / "vectors.gguf", family("bert"))
    made = commission(
        folder / "host",
        models=[("demo", demo_model), ("vectors", vectors)],
        settings=SETTINGS,
    )
    with serving(made):
        yield made


def usual(host: RealHost, *, retries: int = 0) -> openai.OpenAI:
    """The official client as everybody uses it.

    It asks for base64 by itself and turns it into numbers only after validation,
    so a strict one cannot read what it asked for.
    """
    return openai.OpenAI(
        base_url=f"{host.url}/v1", api_key=host.key, max_retries=retries
    )


def embed(host: RealHost, texts: list[str]) -> list[list[float]]:
    with host.client() as client:
        answer = client.embeddings.create(
            model="vectors", input=texts, encoding_format="float"
        )
    assert [item.index for item in answer.data] == list(range(len(texts)))
    return [item.embedding for item in answer.data]


def furthest(some: list[list[float]], others: list[list[float]]) -> float:
    return max(
        abs(a - b)
        for one, other in zip(some, others, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_many_texts_have_the_vectors_of_each_alone(host: RealHost) -> None:
    together = embed(host, TEXTS)
    alone = [embed(host, [text])[0] for text in TEXTS]
    assert furthest(together, alone) < 1e-3
    assert {len(vector) for vector in together} == {64}
    assert all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in together)


def test_numbers_are_those_of_the_base64_that_the_client_asks_for_itself(
    host: RealHost,
) -> None:
    with host.client() as client:
        numbers = client.embeddings.create(
            model="vectors", input="hello", encoding_format="float"
        )
    with usual(host) as client:
        packed = client.embeddings.create(model="vectors", input="hello")
        raw = client.embeddings.with_raw_response.create(
            model="vectors", input="hello", encoding_format="base64"
        )
    assert packed.data[0].embedding == numbers.data[0].embedding
    text = raw.http_response.json()["data"][0]["embedding"]
    held = struct.unpack("<64f", base64.b64decode(text))
    assert list(held) == numbers.data[0].embedding
    assert numbers.usage.prompt_tokens == numbers.usage.total_tokens > 2


def test_tokens_may_be_given_instead_of_a_text(host: RealHost) -> None:
    with usual(host) as client:
        one = client.embeddings.create(model="vectors", input=[2, 40, 41, 3])
        two = client.embeddings.create(model="vectors", input=[[2, 40, 41, 3], [2, 3]])
    assert furthest([one.data[0].embedding], [two.data[0].embedding]) < 1e-3
    assert (one.usage.prompt_tokens, two.usage.prompt_tokens) == (4, 6)


def test_callers_at_once_get_the_vectors_of_each_alone(host: RealHost) -> None:
    alone = embed(host, TEXTS[:4])

    def ask(number: int) -> list[float]:
        with usual(host, retries=5) as client:
            answer = client.embeddings.create(model="vectors", input=TEXTS[number % 4])
        return answer.data[0].embedding

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(12)))
    assert furthest(answers, alone * 3) < 1e-3


def test_an_over_long_text_is_refused_and_names_its_place(host: RealHost) -> None:
    with host.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="vectors", input=["short", "word " * 300])
    assert (caught.value.code, caught.value.param) == (
        "context_length_exceeded",
        "input",
    )


def test_a_model_is_not_asked_for_what_it_does_not_do(host: RealHost) -> None:
    with host.client() as client:
        assert {model.id for model in client.models.list()} == {"demo", "vectors"}
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="demo", input="hello")
        assert caught.value.code == "unsuitable_model"
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model="vectors", messages=[{"role": "user", "content": "hello"}]
            )
        assert caught.value.code == "unsuitable_model"


def test_a_call_has_two_records_that_name_the_endpoint(host: RealHost) -> None:
    before = len(host.records())
    embed(host, TEXTS[:3])
    asked, answered = host.records()[before:]
    assert (asked["event"], asked["endpoint"]) == ("llm.request", "embeddings")
    assert asked["params"] == {"inputs": 3, "priority": "0", "timeout_s": "600"}
    assert (answered["event"], answered["parent"]) == (
        "llm.response",
        str(asked["seq"]),
    )


def test_a_killed_engine_is_a_clean_error_and_comes_back(host: RealHost) -> None:
    assert host.process is not None
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(embed, host, ["record " * 200] * 100)
        wait_for_request(host, inputs=100)
        for pid in engines(host.process.pid):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(openai.InternalServerError) as caught:
            working.result()
    assert caught.value.code == "engine_unavailable"
    assert host.records("llm.response")[-1]["outcome"] == "error"
    with usual(host, retries=10) as client:
        answer = client.embeddings.create(model="vectors", input="hello")
    assert len(answer.data[0].embedding) == 64


def wait_for_request(host: RealHost, *, inputs: int) -> None:
    """Return when a request of so many inputs has been accepted."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if any(
            record["params"].get("inputs") == inputs
            for record in host.records("llm.request")
        ):
            return
        time.sleep(0.005)
    raise AssertionError("no such request")


def engines(server: int) -> list[int]:
    """The engine processes of a server."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == server and b"engine.worker" in command:
            found.append(int(entry.name))
    return found
