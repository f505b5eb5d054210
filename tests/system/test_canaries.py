"""Carried, stored, restarted, replaced, brought back: the model answers the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.demo.canaries import Canary, read_canaries
from tests.support.publisher import republish
from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_follow import models, wait_for

SOME = read_canaries()[::16]


@pytest.fixture
def host(tmp_path: Path, demo_model: Path, slow_model: Path) -> Iterator[RealHost]:
    offered = [("demo", demo_model), ("slow", slow_model)]
    with serving(commission(tmp_path, models=offered, settings=SETTINGS)) as made:
        yield made


def answers(host: RealHost) -> tuple[Canary, ...]:
    with host.client() as client:
        said = [
            client.chat.completions.create(
                model="demo",
                messages=[{"role": "user", "content": canary.question}],
                temperature=0,
            )
            for canary in SOME
        ]
    return tuple(
        Canary(canary.question, each.choices[0].message.content or "")
        for canary, each in zip(SOME, said, strict=True)
    )


def test_the_canaries_outlive_restarts_and_generations(
    host: RealHost, tmp_path: Path
) -> None:
    assert answers(host) == SOME
    assert host.stop() == 0
    host.start()
    assert answers(host) == SOME

    demo_only = tuple(a for a in host.bundle.manifest.artifacts if a.name == "demo")
    manifest = replace(host.bundle.manifest, version=2, artifacts=demo_only)
    expires = manifest.created.replace(year=manifest.created.year + 1)
    newer = republish(
        host.bundle, tmp_path / "newer", manifest=manifest, expires=expires
    )
    assert host.run("bundle", "import", str(newer.folder)).returncode == 0
    wait_for(lambda: models(host) == ["demo"])
    assert answers(host) == SOME

    assert host.run("generations", "rollback").returncode == 0
    wait_for(lambda: models(host) == ["demo", "slow"])
    assert answers(host) == SOME
    host.kill()
    host.start()
    assert answers(host) == SOME
