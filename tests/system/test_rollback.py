"""A running server follows a rollback, a removal and a collection made beside it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.publisher import republish
from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_api import ANSWER, messages
from tests.system.test_follow import models, wait_for


@pytest.fixture
def host(tmp_path: Path, demo_model: Path, slow_model: Path) -> Iterator[RealHost]:
    offered = [("demo", demo_model), ("slow", slow_model)]
    with serving(commission(tmp_path, models=offered, settings=SETTINGS)) as made:
        demo_only = tuple(a for a in made.bundle.manifest.artifacts if a.name == "demo")
        manifest = replace(made.bundle.manifest, version=2, artifacts=demo_only)
        expires = manifest.created.replace(year=manifest.created.year + 1)
        newer = republish(
            made.bundle, tmp_path / "newer", manifest=manifest, expires=expires
        )
        done = made.run("bundle", "import", str(newer.folder))
        assert done.returncode == 0, done.stderr
        wait_for(lambda: models(made) == ["demo"])
        yield made


def test_a_running_server_follows_what_an_operator_takes_back(host: RealHost) -> None:
    assert host.run("generations", "rollback").returncode == 0
    wait_for(lambda: models(host) == ["demo", "slow"])
    assert host.run("model", "remove", "slow").returncode == 0
    wait_for(lambda: models(host) == ["demo"])
    assert host.run("store", "gc", "--keep", "0").returncode == 0
    assert host.run("store", "fsck").returncode == 0
    assert host.run("model", "restore", "slow").returncode == 3
    with host.client() as client:
        answer = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0
        )
    assert answer.choices[0].message.content == ANSWER
    assert host.stop() == 0
    host.start()
    assert models(host) == ["demo"]
    assert [record["event"] for record in host.records()][-3:] == [
        "server.stopped",
        "key.rotate",
        "server.started",
    ]
    assert host.records("llm.request")[-1]["model"]["generation"] == 1
