"""Environments are installed before the activation, and gone if it never comes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.errors import EngineUnavailableError
from appliance.import_steps.host import Copies, Installed
from bundleformat.errors import MalformedError
from bundleformat.manifest import Artifact, Manifest
from tests.support.importing import Host, import_bundle, refuse
from tests.support.publisher import Published, next_version


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    name: str


@dataclass(kw_only=True, slots=True)
class Fake:
    """Installs an environment called ``tools``, and remembers what it was told."""

    told: list[tuple[str, int]] = field(default_factory=list)
    fails: bool = False

    def lacking(
        self, manifest: Manifest, *, unsuitable: frozenset[str]
    ) -> Sequence[Artifact]:
        assert unsuitable == frozenset()
        return tuple(each for each in manifest.artifacts if each.environment)

    def install(
        self, manifest: Manifest, files: Copies, *, unsuitable: frozenset[str]
    ) -> Sequence[Installed]:
        assert unsuitable == frozenset()
        assert all(path.is_file() for path in files.values())
        self.told.append(("install", manifest.version))
        if self.fails:
            raise MalformedError("a wheel that cannot be installed", where="tools")
        return (Named(name="tools"),)

    def discard(self, manifest: Manifest) -> None:
        self.told.append(("discard", manifest.version))


def load_never(paths: tuple[Path, ...]) -> None:
    raise EngineUnavailableError("the engine died", where=paths[0].name)


def test_an_environment_that_cannot_be_installed_refuses_the_bundle(
    host: Host, bundle: Published
) -> None:
    fake = Fake(fails=True)
    parts = replace(host.parts(), environments=fake)
    refuse(host, bundle.folder, MalformedError, parts)
    (record,) = map(json.loads, host.events("bundle.refused"))
    assert record["step"] == "install-environments"
    assert fake.told == [("install", 1), ("discard", 1)]


def test_a_bundle_that_is_refused_later_loses_its_environments(
    host: Host, bundle: Published
) -> None:
    fake = Fake()
    parts = replace(host.parts(), environments=fake, trial_load=load_never)
    with pytest.raises(EngineUnavailableError):
        import_bundle(parts, bundle.folder)
    assert fake.told == [("install", 1), ("discard", 1)]
    assert host.active() == {}


def test_installed_environments_are_on_record_and_in_the_receipt(
    host: Host, bundle: Published
) -> None:
    fake = Fake()
    done = import_bundle(replace(host.parts(), environments=fake), bundle.folder)
    assert done.environments == ("tools",)
    assert fake.told == [("install", 1)]
    (record,) = map(json.loads, host.events("bundle.environments_installed"))
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert record["environments"] == receipt["environments"] == ["tools"]


def test_a_kept_generation_does_not_lose_its_environments_to_a_failed_return(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    newer = next_version(bundle, tmp_path / "newer")
    import_bundle(host.parts(), newer.folder)
    # Back to version 1 by hand: version 2 is kept and not active.
    with host.database.begin() as connection:
        connection.exec_driver_sql("UPDATE generation SET active = 0")
        connection.exec_driver_sql("UPDATE generation SET active = 1 WHERE version = 1")
    fake = Fake(fails=True)
    with pytest.raises(MalformedError):
        import_bundle(replace(host.parts(), environments=fake), newer.folder)
    assert fake.told == [("install", 2)]
