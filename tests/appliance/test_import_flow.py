"""The import flow: what it makes visible, what it refuses, what it leaves behind."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import AuditUnavailableError, HostNotReadyError
from appliance.import_flow import (
    ImportHost,
    Observer,
    Step,
    import_bundle,
    inspect_bundle,
    preview_import,
    verify_bundle,
)
from appliance.intake.examine import examine_model
from appliance.intake.lock import hold_import_lock
from appliance.registry import catalogue
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    EquivocationError,
    FaultError,
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RefusalError,
    RollbackError,
    StorageFaultError,
    UsageError,
)
from bundleformat.gguf import ModelFacts
from bundleformat.layout import chunk_path
from tests.support.gguf_bytes import RawGguf, number
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.importing import Host, new_host
from tests.support.publisher import (
    TERMS,
    Published,
    next_version,
    publish_bundle,
)

CHUNK_BYTES = 48 * 1024


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_model(folder / "tiny.gguf", TinyModel(weights="q8_0"))


@pytest.fixture
def bundle(tmp_path: Path, tiny: Path) -> Published:
    return publish_bundle(
        tmp_path / "bundle",
        models=[("tiny", tiny, None)],
        policies=[("local", b"// a policy\n")],
        chunk_bytes=CHUNK_BYTES,
    )


@pytest.fixture
def host(tmp_path: Path, bundle: Published) -> Iterator[Host]:
    host = new_host(tmp_path / "home", bundle)
    yield host
    host.close()


def refuse(
    host: Host, medium: Path, kind: type[RefusalError], parts: ImportHost | None = None
) -> RefusalError:
    """Import, expect a refusal, and check that it left nothing but a record."""
    before, records = host.active(), len(host.events("bundle.refused"))
    stored = {path.name for path in host.home.glob("store/sha256/*")}
    trust = {name: host.rows()[name] for name in ("trust_file", "trust_floor")}
    with pytest.raises(kind) as caught:
        import_bundle(parts or host.parts(), medium)
    assert type(caught.value) is kind
    assert list(host.staging.iterdir()) == []
    assert {path.name for path in host.home.glob("store/sha256/*")} == stored
    assert host.active() == before
    assert {name: host.rows()[name] for name in trust} == trust
    refused = host.events("bundle.refused")
    assert len(refused) == records + 1
    assert json.loads(refused[-1])["code"] == caught.value.code
    return caught.value


def only_model(bundle: Published) -> Path:
    """Return the path of the model's middle chunk on the medium."""
    chunks = bundle.manifest.artifacts[0].chunks
    assert len(chunks) >= 3
    return bundle.folder / chunk_path(chunks[1].sha256)


def test_import_activates_the_bundle_and_records_one_receipt(
    host: Host, bundle: Published, tiny: Path
) -> None:
    seen: list[Step] = []
    progress: list[tuple[int, int]] = []
    done = import_bundle(
        host.parts(examine=examine_model),
        bundle.folder,
        observer=Observer(
            on_step=seen.append, on_progress=lambda *pair: progress.append(pair)
        ),
    )
    total = sum(each.size_bytes for each in bundle.manifest.artifacts)
    assert seen == list(Step)
    assert progress[-1] == (total, total)
    assert sorted(progress) == progress
    assert not done.already_active
    assert done.facts["tiny"].architecture == "llama"
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    with host.database.begin() as connection:
        (model,) = catalogue.active_models(connection)
        (policy,) = catalogue.active_policies(connection)
    assert (model.name, model.generation) == ("tiny", done.generation)
    assert host.store.path_of(model.sha256).read_bytes() == tiny.read_bytes()
    assert policy.name == "local"
    (record,) = host.events("bundle.imported")
    fields = json.loads(record)
    assert fields["manifest_sha256"] == sha256_of(done.bundle.manifest_bytes)
    assert fields["generation"] == done.generation
    assert [each["name"] for each in fields["artifacts"]] == ["tiny", "local"]


def test_importing_the_active_version_again_changes_nothing_and_says_so(
    host: Host, bundle: Published
) -> None:
    first = import_bundle(host.parts(), bundle.folder)
    rows, files = host.rows(), host.files()
    again = import_bundle(host.parts(), bundle.folder)
    assert again.already_active
    assert again.generation == first.generation
    assert (host.rows(), host.files()) == (rows, files)


def test_a_newer_version_replaces_the_active_one_and_shares_its_files(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    stored = sorted(host.home.glob("store/sha256/*"))
    newer = next_version(bundle, tmp_path / "newer")
    import_bundle(host.parts(), newer.folder)
    assert host.active() == {"main": 2}
    assert sorted(host.home.glob("store/sha256/*")) == stored
    with host.database.begin() as connection:
        old = catalogue.find_generation(connection, channel="main", version=1)
    assert old is not None
    assert not old.active


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
    only_model(newer).write_bytes(b"x")
    refuse(host, newer.folder, DigestMismatchError)
    assert host.active() == {"main": 1}


def test_a_chunk_longer_than_signed_is_refused(host: Host, bundle: Published) -> None:
    path = only_model(bundle)
    path.write_bytes(path.read_bytes() + b"x")
    refuse(host, bundle.folder, DigestMismatchError)


def test_a_missing_chunk_is_refused(host: Host, bundle: Published) -> None:
    only_model(bundle).unlink()
    refuse(host, bundle.folder, MissingError)


def test_a_link_in_the_place_of_a_chunk_is_refused_although_it_leads_to_the_bytes(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    path = only_model(bundle)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refuse(host, bundle.folder, MalformedError)


def test_a_fifo_in_the_place_of_a_chunk_is_refused_and_nobody_waits(
    host: Host, bundle: Published
) -> None:
    path = only_model(bundle)
    path.unlink()
    os.mkfifo(path)
    refuse(host, bundle.folder, MalformedError)


def test_a_medium_swapped_after_its_metadata_was_verified_is_refused(
    host: Host, bundle: Published
) -> None:
    def swap(step: Step) -> None:
        if step is Step.COPY:
            only_model(bundle).write_bytes(bytes(CHUNK_BYTES))

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


@pytest.mark.parametrize("block_count", [100_000, 0])
def test_a_hostile_model_is_refused_although_its_signature_is_valid(
    tmp_path: Path, block_count: int
) -> None:
    evil = tmp_path / "evil.gguf"
    raw = RawGguf().having(number("llama.block_count", block_count))
    evil.write_bytes(raw.packed())
    bundle = publish_bundle(tmp_path / "bundle", models=[("evil", evil, TERMS)])
    host = new_host(tmp_path / "home", bundle)
    parts = host.parts(examine=examine_model)
    error = refuse(host, bundle.folder, LimitExceededError, parts)
    assert error.where == "models/evil.gguf: llama.block_count"
    assert json.loads(host.events("bundle.refused")[0])["step"] == "examine"
    host.close()


def test_a_model_that_is_not_what_the_manifest_says_is_refused(
    tmp_path: Path, tiny: Path
) -> None:
    terms = replace(TERMS, architecture="qwen2")
    bundle = publish_bundle(tmp_path / "bundle", models=[("tiny", tiny, terms)])
    host = new_host(tmp_path / "home", bundle)
    error = refuse(host, bundle.folder, MalformedError)
    assert error.expected.startswith("qwen2 ")
    assert error.actual.startswith("llama ")
    host.close()


def test_an_examiner_that_dies_is_a_fault_and_the_copy_is_kept(
    host: Host, bundle: Published
) -> None:
    def die(path: Path, *, where: str) -> ModelFacts:
        raise InternalFaultError("the examiner died", where=f"{where} {path.name}")

    with pytest.raises(InternalFaultError):
        import_bundle(host.parts(examine=die), bundle.folder)
    assert host.active() == {}
    assert host.events("bundle.imported") == host.events("bundle.refused") == []
    # The chunks are gone from the medium, and not needed any more.
    shutil.rmtree(bundle.folder / "c")
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []


def test_a_medium_refused_by_its_metadata_cannot_cost_another_its_unfinished_copy(
    host: Host, bundle: Published, tmp_path: Path, tiny: Path
) -> None:
    def die(path: Path, *, where: str) -> ModelFacts:
        raise InternalFaultError("the examiner died", where=f"{where} {path.name}")

    with pytest.raises(InternalFaultError):
        import_bundle(host.parts(examine=die), bundle.folder)
    copies = host.files()
    stranger = publish_bundle(tmp_path / "stranger", models=[("tiny", tiny, None)])
    with pytest.raises(EquivocationError):
        import_bundle(host.parts(), stranger.folder)
    with pytest.raises(MissingError):
        import_bundle(host.parts(), tmp_path / "mistyped")
    assert host.files() == copies
    assert len(host.events("bundle.refused")) == 1


def test_policies_are_checked_together_with_those_of_other_channels(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    other = publish_bundle(
        tmp_path / "other", policies=[("second", b"// another\n")], channel="extra"
    )
    host.trust(other)
    seen: list[tuple[tuple[str, bytes], ...]] = []
    parts = replace(host.parts(), check_policies=seen.append)
    import_bundle(parts, other.folder, channel="extra")
    assert seen == [(("local", b"// a policy\n"), ("second", b"// another\n"))]
    assert host.active() == {"extra": 1, "main": 1}


def test_a_policy_that_is_not_accepted_refuses_the_whole_bundle(
    host: Host, bundle: Published
) -> None:
    def reject(policies: tuple[tuple[str, bytes], ...]) -> None:
        raise MalformedError("no @id", where=policies[0][0])

    parts = replace(host.parts(), check_policies=reject)
    refuse(host, bundle.folder, MalformedError, parts)
    assert json.loads(host.events("bundle.refused")[0])["step"] == "check-policies"


def test_a_name_of_another_channel_is_refused(
    host: Host, bundle: Published, tmp_path: Path, tiny: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    other = publish_bundle(
        tmp_path / "other", models=[("tiny", tiny, None)], channel="extra"
    )
    host.trust(other)
    with pytest.raises(ConflictError) as caught:
        import_bundle(host.parts(), other.folder, channel="extra")
    assert (caught.value.where, caught.value.actual) == ("tiny", "main")
    with pytest.raises(UsageError):
        import_bundle(host.parts(), other.folder)
    assert host.active() == {"main": 1}


@pytest.mark.parametrize("imported_before", [False, True])
def test_a_preview_changes_nothing(
    host: Host, bundle: Published, tmp_path: Path, *, imported_before: bool
) -> None:
    medium = bundle.folder
    if imported_before:
        import_bundle(host.parts(), bundle.folder)
        medium = next_version(bundle, tmp_path / "newer").folder
    rows, files = host.rows(), host.files()
    plan = preview_import(host.parts(), medium)
    assert (host.rows(), host.files()) == (rows, files)
    total = sum(each.size_bytes for each in bundle.manifest.artifacts)
    copied = 0 if imported_before else total
    assert (plan.copy_bytes, plan.held_bytes) == (copied, total - copied)
    assert plan.active_generation is None


def test_a_refused_preview_records_nothing(host: Host, bundle: Published) -> None:
    (bundle.folder / "targets" / "manifest.json").write_bytes(b"{}")
    rows, files = host.rows(), host.files()
    with pytest.raises(RefusalError):
        preview_import(host.parts(), bundle.folder)
    assert (host.rows(), host.files()) == (rows, files)


def test_inspect_and_verify_change_nothing(host: Host, bundle: Published) -> None:
    rows, files = host.rows(), host.files()
    looked = inspect_bundle(host.parts(), bundle.folder)
    seen: list[tuple[int, int]] = []
    observer = Observer(on_progress=lambda *pair: seen.append(pair))
    checked = verify_bundle(host.parts(), bundle.folder, observer=observer)
    assert looked.manifest == checked.manifest == bundle.manifest
    assert seen[-1][0] == seen[-1][1]
    only_model(bundle).write_bytes(b"x")
    inspect_bundle(host.parts(), bundle.folder)
    with pytest.raises(DigestMismatchError):
        verify_bundle(host.parts(), bundle.folder)
    assert (host.rows(), host.files()) == (rows, files)


def test_a_second_import_at_the_same_time_is_turned_away(
    host: Host, bundle: Published
) -> None:
    rows = host.rows()
    with hold_import_lock(host.staging), pytest.raises(HostNotReadyError):
        import_bundle(host.parts(), bundle.folder)
    assert host.rows() == rows
    import_bundle(host.parts(), bundle.folder)


def test_a_host_without_a_trust_root_imports_nothing(
    tmp_path: Path, bundle: Published
) -> None:
    host = new_host(tmp_path / "untrusting")
    refuse(host, bundle.folder, MissingError)
    host.close()


def test_a_ledger_that_cannot_write_undoes_the_activation(
    host: Host, bundle: Published
) -> None:
    def fail(_connection: object, _drafts: object) -> None:
        raise AuditUnavailableError("the ledger cannot write")

    rows = host.rows()
    with pytest.raises(AuditUnavailableError):
        import_bundle(replace(host.parts(), append_records=fail), bundle.folder)
    assert host.rows() == rows
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}


def test_trust_that_changes_during_an_import_stops_it(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    other = publish_bundle(tmp_path / "other", policies=[("p", b"// p\n")])

    def interfere(step: Step) -> None:
        if step is Step.ADMIT:
            host.trust(other)

    with pytest.raises(ConflictError):
        import_bundle(host.parts(), bundle.folder, observer=Observer(on_step=interfere))
    assert host.active() == {}


def test_a_stored_file_that_decayed_is_copied_again(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    model = host.store.path_of(bundle.manifest.artifacts[0].sha256)
    model.chmod(0o600)
    model.write_bytes(b"decayed")
    import_bundle(host.parts(), next_version(bundle, tmp_path / "newer").folder)
    assert host.active() == {"main": 2}


def test_too_little_room_is_a_fault_before_the_first_byte(
    host: Host, bundle: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(host.staging)
    full = os.statvfs_result((*free[:3], 0, 0, *free[5:10], free.f_fsid))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    rows, files = host.rows(), host.files()
    with pytest.raises(StorageFaultError) as caught:
        import_bundle(host.parts(), bundle.folder)
    assert caught.value.actual == "0"
    assert (host.rows(), host.files()) == (rows, files)
    assert isinstance(caught.value, FaultError)
