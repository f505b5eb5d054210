"""What an import refuses although its signatures are valid."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import EngineUnavailableError
from appliance.intake.examine import examine_model
from bundleformat.errors import (
    ConflictError,
    FaultError,
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    StorageFaultError,
    UsageError,
)
from bundleformat.gguf import ModelFacts
from tests.support.gguf_bytes import RawGguf, number
from tests.support.importing import Host, import_bundle, new_host, refuse
from tests.support.publisher import TERMS, Published, publish_bundle


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


def die(*paths: Path, where: str) -> ModelFacts:
    """Stand for an examiner that the model kills."""
    raise InternalFaultError("the examiner died", where=f"{where} {paths[0].name}")


def unreadable(*paths: Path, where: str) -> ModelFacts:
    """Stand for a disk that cannot give the copy to the examiner."""
    raise StorageFaultError("cannot be read", where=f"{where} {paths[0].name}")


def load_never(paths: tuple[Path, ...]) -> None:
    """Stand for an engine that cannot load the model."""
    raise EngineUnavailableError("the engine died", where=paths[0].name)


@pytest.mark.parametrize(
    ("failing", "step", "code"),
    [
        ({"examine": die}, "examine", "check-failed"),
        ({"trial_load": load_never}, "trial-load", "engine-unavailable"),
    ],
)
def test_a_model_that_ends_what_looks_at_it_is_a_fault_on_record_and_is_not_kept(
    host: Host, bundle: Published, failing: dict[str, Any], step: str, code: str
) -> None:
    trust = host.rows()["trust_file"]
    with pytest.raises(FaultError) as caught:
        import_bundle(replace(host.parts(), **failing), bundle.folder)
    assert caught.value.code == code
    (record,) = map(json.loads, host.events("bundle.refused"))
    assert (record["outcome"], record["step"]) == ("error", step)
    assert (record["code"], record["version"]) == (code, 1)
    assert list(host.staging.iterdir()) == []
    assert host.active() == {}
    assert host.rows()["trust_file"] == trust
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}


def test_a_disk_that_fails_the_examiner_keeps_the_copy_and_is_not_on_record(
    host: Host, bundle: Published
) -> None:
    with pytest.raises(StorageFaultError):
        import_bundle(host.parts(examine=unreadable), bundle.folder)
    assert host.active() == {}
    assert host.events("bundle.imported") == host.events("bundle.refused") == []
    # The chunks are gone from the medium, and not needed any more.
    shutil.rmtree(bundle.folder / "c")
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []


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
