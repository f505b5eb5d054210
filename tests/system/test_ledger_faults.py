"""When the ledger cannot write, nothing is served; when it can again, it is."""

import resource
import time

import openai
import pytest

from tests.support.real_host import RealHost
from tests.system.test_api import ANSWER, messages


def limit_file_size(host: RealHost, size_bytes: int) -> None:
    """Make every write of the server beyond ``size_bytes`` of a file fail."""
    assert host.process is not None
    resource.prlimit(
        host.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY)
    )


def ask(host: RealHost) -> str | None:
    with host.client() as client:
        answer = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0
        )
    return answer.choices[0].message.content


def test_a_full_disk_refuses_inference_and_recovers(host: RealHost) -> None:
    assert ask(host) == ANSWER
    before = len(host.records())
    limit_file_size(host, 1)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(host)
    assert caught.value.status_code == 503
    assert caught.value.code == "audit_unavailable"
    assert len(host.records()) == before
    with host.client() as client:
        # Reading does not need the ledger; only inference does.
        assert [model.id for model in client.models.list()] == ["demo", "slow"]
    limit_file_size(host, resource.RLIM_INFINITY)
    deadline = time.monotonic() + 30
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = ask(host)
        except openai.InternalServerError:
            time.sleep(0.2)
    assert answer == ANSWER
    assert host.records("log.resumed")
    assert host.run("audit", "fsck").returncode == 0


def test_a_disk_that_fills_during_a_stream_withholds_its_end(host: RealHost) -> None:
    with host.client() as client:
        stream = iter(
            client.chat.completions.create(
                model="slow",
                messages=messages("go on"),
                temperature=0,
                max_tokens=200,
                stream=True,
            )
        )
        first = next(stream)
        limit_file_size(host, 1)
        reasons: list[str | None] = []
        with pytest.raises(openai.APIError) as caught:
            reasons.extend(chunk.choices[0].finish_reason for chunk in stream)
    limit_file_size(host, resource.RLIM_INFINITY)
    assert caught.value.code == "audit_unavailable"
    assert not any(reasons)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        aborted = [r["request_id"] for r in host.records("llm.aborted")]
        if first.id in aborted:
            break
        time.sleep(0.1)
    assert first.id in aborted
    assert host.run("audit", "fsck").returncode == 0
