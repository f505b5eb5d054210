"""A running server follows what the operator does in another terminal."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from tests.support.publisher import next_version, republish
from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_api import ANSWER, messages


@pytest.fixture
def host(tmp_path: Path, demo_model: Path, slow_model: Path) -> Iterator[RealHost]:
    models = [("demo", demo_model), ("slow", slow_model)]
    with serving(commission(tmp_path, models=models, settings=SETTINGS)) as made:
        yield made


def wait_for(condition: Callable[[], bool], *, limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def models(host: RealHost) -> list[str]:
    with host.client() as client:
        return [model.id for model in client.models.list()]


def test_a_new_generation_is_served_and_the_old_one_drained(
    host: RealHost, tmp_path: Path
) -> None:
    demo_only = tuple(a for a in host.bundle.manifest.artifacts if a.name == "demo")
    kept = {chunk.sha256 for artifact in demo_only for chunk in artifact.chunks}
    manifest = replace(host.bundle.manifest, version=2, artifacts=demo_only)
    newer = republish(
        host.bundle,
        tmp_path / "bundle-2",
        manifest=manifest,
        expires=manifest.created.replace(year=manifest.created.year + 1),
    )
    for path in (newer.folder / "c").rglob("*"):
        if path.is_file() and path.name not in kept:
            path.unlink()
    with host.client() as client:
        running = iter(
            client.chat.completions.create(
                model="slow",
                messages=messages("go on"),
                temperature=0,
                max_tokens=200,
                stream=True,
            )
        )
        next(running)
        done = host.run("bundle", "import", str(newer.folder))
        assert done.returncode == 0, done.stderr
        wait_for(lambda: models(host) == ["demo"])
        # What was running when the generation changed runs to its end.
        assert [c.choices[0].finish_reason for c in running][-1] == "length"
        answer = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0
        )
        assert answer.choices[0].message.content == ANSWER
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="slow", messages=messages())
    assert host.records("llm.request")[-1]["model"]["generation"] == 2


def test_a_revoked_key_is_refused_at_once(host: RealHost) -> None:
    key_id = host.key.split("_")[1]
    assert host.run("key", "revoke", key_id).returncode == 0
    with host.client() as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_second_server_is_refused_and_leaves_the_first_alone(host: RealHost) -> None:
    second = host.run("serve", "--port", "0")
    assert second.returncode == 4
    assert "host-not-ready" in second.stderr
    assert models(host) == ["demo", "slow"]


def test_a_store_that_was_tampered_with_is_not_loaded(host: RealHost) -> None:
    assert host.stop() == 0
    for path in (host.home / "store" / "sha256").iterdir():
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    refused = host.run("serve", "--port", "0")
    assert refused.returncode == 3
    assert "digest-mismatch" in refused.stderr


def test_the_same_bundle_again_changes_nothing(host: RealHost) -> None:
    before = len(host.records())
    again = host.run("bundle", "import", str(host.bundle.folder), "--json")
    assert again.returncode == 0
    assert '"already_active": true' in again.stdout
    assert len(host.records()) == before


def test_an_older_bundle_is_refused(host: RealHost, tmp_path: Path) -> None:
    newer = next_version(host.bundle, tmp_path / "bundle-2")
    assert host.run("bundle", "import", str(newer.folder)).returncode == 0
    refused = host.run("bundle", "import", str(host.bundle.folder))
    assert refused.returncode == 3
    assert "rollback" in refused.stderr
    assert host.records("bundle.refused")[-1]["code"] == "rollback"
