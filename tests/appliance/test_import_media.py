"""What an import refuses of a medium, and what that leaves behind."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from appliance.errors import AuditUnavailableError
from appliance.import_steps.host import Observer, Step
from appliance.ledger.records.events import Draft, Event
from bundleformat.errors import (
    DigestMismatchError,
    EquivocationError,
    MalformedError,
    MissingError,
    RollbackError,
    StorageFaultError,
)
from bundleformat.gguf import ModelFacts
from bundleformat.layout import chunk_path
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.importing import (
    CHUNK_BYTES,
    Host,
    import_bundle,
    middle_chunk,
    new_host,
    refuse,
)
from tests.support.publisher import Published, next_version, publish_bundle


def test_an_older_version_is_refused(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    newer = next_version(bundle, tmp_path / "newer")
    import_bundle(host.parts(), newer.folder)
    refuse(host, bundle.folder, RollbackError)
    record = json.loads(host.events("bundle.refused")[0])
    assert (record["step"], record["channel"]) == ("verify", "main")
    assert host.active() == {"main": 2}


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_flipped_byte_anywhere_in_a_chunk_is_refused(
    host: Host, bundle: Published, which: int, place: str
) -> None:
    chunk = bundle.manifest.artifacts[0].chunks[which]
    path = bundle.folder / chunk_path(chunk.sha256)
    data = bytearray(path.read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
    path.write_bytes(data)
    error = refuse(host, bundle.folder, DigestMismatchError)
    assert error.where == chunk_path(chunk.sha256)
    record = json.loads(host.events("bundle.refused")[0])
    assert (record["step"], record["version"]) == ("copy", 1)
    assert len(record["manifest_sha256"]) == 64


def test_a_refused_update_leaves_the_active_version_serving(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    other = write_model(tmp_path / "other.gguf", TinyModel(seed=2, weights="q8_0"))
    newer = publish_bundle(
        tmp_path / "newer",
        models=[("tiny", other, None)],
        version=2,
        keys=bundle.keys,
        roots=bundle.roots,
        chunk_bytes=CHUNK_BYTES,
    )
    middle_chunk(newer).write_bytes(b"x")
    refuse(host, newer.folder, DigestMismatchError)
    assert host.active() == {"main": 1}


def test_a_chunk_longer_than_signed_is_refused(host: Host, bundle: Published) -> None:
    path = middle_chunk(bundle)
    path.write_bytes(path.read_bytes() + b"x")
    refuse(host, bundle.folder, DigestMismatchError)


def test_a_missing_chunk_is_refused(host: Host, bundle: Published) -> None:
    middle_chunk(bundle).unlink()
    refuse(host, bundle.folder, MissingError)


def test_a_link_in_the_place_of_a_chunk_is_refused_although_it_leads_to_the_bytes(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    path = middle_chunk(bundle)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refuse(host, bundle.folder, MalformedError)


def test_a_fifo_in_the_place_of_a_chunk_is_refused_and_nobody_waits(
    host: Host, bundle: Published
) -> None:
    path = middle_chunk(bundle)
    path.unlink()
    os.mkfifo(path)
    refuse(host, bundle.folder, MalformedError)


def test_a_medium_swapped_after_its_metadata_was_verified_is_refused(
    host: Host, bundle: Published
) -> None:
    def swap(step: Step) -> None:
        if step is Step.COPY:
            middle_chunk(bundle).write_bytes(bytes(CHUNK_BYTES))

    with pytest.raises(DigestMismatchError):
        import_bundle(host.parts(), bundle.folder, observer=Observer(on_step=swap))
    assert host.active() == {}


def test_a_medium_gone_after_the_copy_does_not_matter(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    def pull_out(step: Step) -> None:
        if step is Step.EXAMINE:
            bundle.folder.rename(tmp_path / "pulled-out")

    import_bundle(host.parts(), bundle.folder, observer=Observer(on_step=pull_out))
    assert host.active() == {"main": 1}


def test_a_medium_refused_by_its_metadata_cannot_cost_another_its_unfinished_copy(
    host: Host, bundle: Published, tmp_path: Path, tiny: Path
) -> None:
    def fail(*paths: Path, where: str) -> ModelFacts:
        raise StorageFaultError("cannot be read", where=f"{where} {paths[0].name}")

    with pytest.raises(StorageFaultError):
        import_bundle(host.parts(examine=fail), bundle.folder)
    copies = host.files()
    stranger = publish_bundle(tmp_path / "stranger", models=[("tiny", tiny, None)])
    with pytest.raises(EquivocationError):
        import_bundle(host.parts(), stranger.folder)
    with pytest.raises(MissingError):
        import_bundle(host.parts(), tmp_path / "mistyped")
    assert host.files() == copies
    assert len(host.events("bundle.refused")) == 1


def test_a_host_without_a_trust_root_imports_nothing(
    tmp_path: Path, bundle: Published
) -> None:
    host = new_host(tmp_path / "untrusting")
    refuse(host, bundle.folder, MissingError)
    host.close()


def test_a_medium_that_cannot_be_opened_as_a_folder_is_refused_on_record(
    host: Host, tmp_path: Path
) -> None:
    medium = tmp_path / "medium"
    medium.write_bytes(b"an image that nobody mounted")
    refuse(host, medium, MalformedError)
    assert json.loads(host.events("bundle.refused")[0])["step"] == "lock"


def test_a_path_where_there_is_nothing_leaves_no_record(
    host: Host, tmp_path: Path
) -> None:
    rows = host.rows()
    with pytest.raises(MissingError):
        import_bundle(host.parts(), tmp_path / "mistyped")
    assert host.rows() == rows


def test_a_refusal_is_on_record_before_its_copies_are_removed(
    host: Host, bundle: Published
) -> None:
    def append(connection: Connection, drafts: Sequence[Draft]) -> object:
        refused = drafts[0].event is Event.BUNDLE_REFUSED
        assert (list(host.staging.iterdir()) != []) is refused
        return host.append(connection, drafts)

    middle_chunk(bundle).write_bytes(b"x")
    parts = replace(host.parts(), append_records=append)
    refuse(host, bundle.folder, DigestMismatchError, parts)


def test_a_refusal_that_cannot_be_recorded_still_leaves_no_copy(
    host: Host, bundle: Published
) -> None:
    def fail_at_refusals(connection: Connection, drafts: Sequence[Draft]) -> object:
        if drafts[0].event is Event.BUNDLE_REFUSED:
            raise AuditUnavailableError("the ledger cannot write")
        return host.append(connection, drafts)

    middle_chunk(bundle).write_bytes(b"x")
    parts = replace(host.parts(), append_records=fail_at_refusals)
    with pytest.raises(AuditUnavailableError):
        import_bundle(parts, bundle.folder)
    assert list(host.staging.iterdir()) == []
