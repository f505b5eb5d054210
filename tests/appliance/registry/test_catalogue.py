"""Generations: one active per channel, read from the signed manifest."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from appliance.db.session import create_database
from appliance.registry import catalogue
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import ConflictError
from bundleformat.manifest import Artifact, Chunk, Kind, Manifest, encode_manifest
from bundleformat.paths import ArchivePath, Name
from tests.support.generations import manifest_of
from tests.support.publisher import NOW, TERMS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = create_database(tmp_path / "sallyport.db")
    yield engine
    engine.dispose()


def artifact(kind: Kind, name: str) -> Artifact:
    digest = Sha256(sha256_of(name.encode()))
    folder = {"model": "models", "policy": "policies"}[kind]
    return Artifact(
        kind=kind,
        name=Name(name),
        path=ArchivePath(f"{folder}/{name}"),
        size_bytes=5,
        sha256=digest,
        chunks=(Chunk(sha256=digest, size_bytes=5),),
        model=TERMS if kind == "model" else None,
    )


def manifest(version: int = 1, channel: str = "main", *names: str) -> Manifest:
    return Manifest(
        format=1,
        channel=Name(channel),
        version=version,
        created=NOW,
        artifacts=tuple(
            artifact("policy" if name.startswith("p") else "model", name)
            for name in sorted(names, key=lambda name: (name.startswith("p"), name))
        ),
    )


def activate(database: Engine, chosen: Manifest) -> int:
    with database.begin() as connection:
        return catalogue.activate(
            connection,
            manifest=chosen,
            manifest_bytes=encode_manifest(chosen),
            now=NOW,
        )


def test_activated_generation_is_the_manifest_that_was_signed(
    database: Engine,
) -> None:
    chosen = manifest(1, "main", "b", "a", "p1")
    identity = activate(database, chosen)
    with database.begin() as connection:
        (generation,) = catalogue.active_generations(connection)
        models = catalogue.active_models(connection)
        policies = catalogue.active_policies(connection)
    assert generation.id == identity
    assert generation.manifest == chosen
    assert generation.manifest_sha256 == sha256_of(encode_manifest(chosen))
    assert [each.name for each in models] == ["a", "b"]
    assert {each.generation for each in models} == {identity}
    assert {each.terms for each in models} == {TERMS}
    assert [each.name for each in policies] == ["p1"]


def test_newer_generation_takes_over_and_the_older_one_stays(
    database: Engine,
) -> None:
    first = activate(database, manifest(1, "main", "a"))
    second = activate(database, manifest(2, "main", "b"))
    with database.begin() as connection:
        old = catalogue.find_generation(connection, channel="main", version=1)
        models = catalogue.active_models(connection)
    assert old is not None
    assert (old.id, old.active) == (first, False)
    assert [(each.name, each.generation) for each in models] == [("b", second)]


def test_a_generation_can_become_active_again_under_its_own_id(
    database: Engine,
) -> None:
    first = activate(database, manifest(1, "main", "a"))
    activate(database, manifest(2, "main", "b"))
    assert activate(database, manifest(1, "main", "a")) == first
    with database.begin() as connection:
        assert [each.id for each in catalogue.active_generations(connection)] == [first]


def test_channels_are_active_beside_each_other(database: Engine) -> None:
    activate(database, manifest(1, "main", "b"))
    activate(database, manifest(1, "extra", "a"))
    with database.begin() as connection:
        channels = [each.channel for each in catalogue.active_generations(connection)]
        assert [each.name for each in catalogue.active_models(connection)] == ["a", "b"]
    assert channels == ["extra", "main"]


def test_a_rolled_back_activation_is_not_visible(database: Engine) -> None:
    activate(database, manifest(1, "main", "a"))
    chosen = manifest(2, "main", "b")
    with database.connect() as connection, connection.begin() as transaction:
        catalogue.activate(
            connection,
            manifest=chosen,
            manifest_bytes=encode_manifest(chosen),
            now=NOW,
        )
        transaction.rollback()
    with database.begin() as connection:
        assert [each.version for each in catalogue.active_generations(connection)] == [
            1
        ]
        assert catalogue.find_generation(connection, channel="main", version=2) is None


def test_the_database_itself_refuses_two_active_generations_of_a_channel(
    database: Engine,
) -> None:
    activate(database, manifest(1, "main", "a"))
    activate(database, manifest(2, "main", "a"))
    with (
        pytest.raises(IntegrityError),
        database.begin() as connection,
    ):
        connection.exec_driver_sql("UPDATE generation SET active = 1")


@pytest.mark.parametrize(("name", "kind"), [("a", "model"), ("p1", "policy")])
def test_a_name_that_another_channel_delivers_is_a_conflict(
    database: Engine, name: str, kind: str
) -> None:
    activate(database, manifest(1, "main", "a", "p1"))
    newcomer = manifest(1, "extra", "c", name)
    with database.begin() as connection:
        with pytest.raises(ConflictError) as caught:
            catalogue.check_names(connection, newcomer)
        assert (caught.value.where, caught.value.actual) == (name, "main")
        assert kind in caught.value.problem
        catalogue.check_names(connection, manifest(2, "main", "a", "p1"))
        catalogue.check_names(connection, replace(newcomer, artifacts=()))


def test_what_is_not_asked_for_by_name_is_no_conflict_and_not_withdrawn(
    database: Engine,
) -> None:
    first = kinds("model/a", "policy/p", "sbom/all")
    activate(database, manifest_of(first, version=1))
    with database.begin() as connection:
        other = manifest_of(kinds("model/b", "sbom/all"), version=1, channel="extra")
        catalogue.check_names(connection, other)
        gone = catalogue.withdrawn_by(
            connection, manifest_of(kinds("model/b"), version=2)
        )
    assert [each.name for each in gone] == ["a", "p"]


def test_a_generation_needs_no_file_of_a_removed_model(database: Engine) -> None:
    files = {"model/a": b"a", "model/b": b"same", "sbom/all": b"same"}
    activate(database, manifest_of(files, version=1))
    with database.begin() as connection:
        (generation,) = catalogue.active_generations(connection)
        removed = {sha256_of(b"a"), sha256_of(b"same")}
    every = catalogue.files_of(generation, removed=frozenset())
    assert set(every) == {sha256_of(b"a"), sha256_of(b"same")}
    left = catalogue.files_of(generation, removed=frozenset(removed))
    assert set(left) == {sha256_of(b"same")}


def kinds(*names: str) -> dict[str, bytes]:
    return {name: name.encode() for name in names}
