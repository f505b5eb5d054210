"""What the store lost comes back from any medium, which need not be trusted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import HostNotReadyError
from appliance.intake.lock import hold_import_lock
from appliance.repair_flow import Repaired, Wanted, repair
from bundleformat.digest import sha256_of
from bundleformat.errors import MissingError, RollbackError
from bundleformat.layout import chunk_path
from tests.support.importing import CHUNK_BYTES, Host, import_bundle, new_host
from tests.support.publisher import TERMS, Published, next_version, publish_bundle

WEIGHTS = b"".join(sha256_of(bytes([n % 256, n // 256])).encode() for n in range(2_400))
"""Bytes of a model, several chunks long."""


@pytest.fixture
def first(tmp_path: Path) -> Published:
    path = tmp_path / "weights"
    path.write_bytes(WEIGHTS)
    return publish_bundle(
        tmp_path / "first", models=[("tiny", path, TERMS)], chunk_bytes=CHUNK_BYTES
    )


@pytest.fixture
def host(tmp_path: Path, first: Published) -> Iterator[Host]:
    made = new_host(tmp_path / "home", first)
    yield made
    made.close()


def imported(host: Host, *bundles: Published) -> Path:
    """Import the bundles as they are, and return where the model lies."""

    def examine(*_paths: Path, where: str) -> object:
        assert where
        return FACTS

    for bundle in bundles:
        import_bundle(host.parts(examine=examine), bundle.folder)  # type: ignore[arg-type]
    return host.store.path_of(bundles[0].manifest.artifacts[0].sha256)


class FACTS:
    """What the examination of the model says: the terms it was published under."""

    architecture = TERMS.architecture
    context_length = TERMS.context_length


def mended(host: Host, *media: Path) -> Repaired:
    return repair(
        host.parts(), Wanted(media=media), environments=host.home / "environments"
    )


def left(host: Host) -> list[Path]:
    return list(host.staging.iterdir())


def test_a_medium_without_the_lost_bytes_is_refused_and_changes_nothing(
    tmp_path: Path, host: Host, first: Published
) -> None:
    place = imported(host, first)
    place.unlink()
    rows = host.rows()
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError) as caught:
        mended(host, tmp_path / "empty")
    assert caught.value.expected == "model tiny"
    assert not place.exists()
    assert left(host) == []
    assert host.rows() == rows


def test_a_chunk_that_is_not_what_its_name_says_is_not_taken(
    host: Host, first: Published
) -> None:
    place = imported(host, first)
    place.unlink()
    chunk = first.manifest.artifacts[0].chunks[1]
    (first.folder / chunk_path(chunk.sha256)).write_bytes(b"x" * chunk.size_bytes)
    with pytest.raises(MissingError) as caught:
        mended(host, first.folder)
    assert chunk.sha256 in caught.value.actual
    assert not place.exists()
    assert host.events("store.repaired") == []


def test_nothing_is_repaired_while_an_import_runs(host: Host, first: Published) -> None:
    imported(host, first).unlink()
    with hold_import_lock(host.staging), pytest.raises(HostNotReadyError):
        mended(host, first.folder)


def test_a_medium_older_than_the_floor_repairs_what_an_import_could_not(
    tmp_path: Path, host: Host, first: Published
) -> None:
    second = next_version(first, tmp_path / "second")
    place = imported(host, first, second)
    place.unlink()
    with pytest.raises(RollbackError):
        import_bundle(host.parts(), first.folder)
    before = host.rows()
    done = mended(host, first.folder)
    assert [each.name for each in done.artifacts] == ["tiny"]
    assert done.medium_bytes == len(WEIGHTS)
    assert place.read_bytes() == WEIGHTS
    assert place.stat().st_mode & 0o777 == 0o444
    assert left(host) == []
    assert len(host.events("store.repaired")) == 1
    after = host.rows()
    for table in ("trust_file", "trust_floor", "generation"):
        assert after[table] == before[table]
    assert host.active() == {"main": 2}


def test_what_one_medium_lacks_another_one_brings(
    tmp_path: Path, host: Host, first: Published
) -> None:
    place = imported(host, first)
    place.unlink()
    chunk = first.manifest.artifacts[0].chunks[0]
    other = tmp_path / "other" / chunk_path(chunk.sha256)
    other.parent.mkdir(parents=True)
    (first.folder / chunk_path(chunk.sha256)).rename(other)
    with pytest.raises(MissingError):
        mended(host, first.folder)
    done = mended(host, tmp_path / "other")
    assert done.medium_bytes == chunk.size_bytes
    assert place.read_bytes() == WEIGHTS


def test_a_whole_store_is_left_alone_without_a_record(
    host: Host, first: Published
) -> None:
    imported(host, first)
    rows = host.rows()
    assert mended(host, first.folder) == Repaired()
    assert host.rows() == rows


def test_what_an_interrupted_repair_brought_back_is_on_record_afterwards(
    host: Host, first: Published
) -> None:
    place = imported(host, first)
    # What is left where power fails between the last file and the record's commit.
    (host.staging / f"{place.name}.journal").write_text("0\n")
    done = mended(host, first.folder)
    assert [each.name for each in done.artifacts] == ["tiny"]
    assert (done.medium_bytes, left(host)) == (0, [])
    assert len(host.events("store.repaired")) == 1
    assert mended(host, first.folder) == Repaired()


def test_a_copy_that_a_repair_began_and_nobody_needs_is_forgotten_without_a_record(
    host: Host, first: Published
) -> None:
    place = imported(host, first)
    for suffix in (".part", ".journal"):
        (host.staging / f"{place.name}{suffix}").write_text("0\n")
    assert mended(host, first.folder) == Repaired()
    assert left(host) == []
    assert host.events("store.repaired") == []
