"""What an import finds out before it writes one byte."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UnsuitableHostError
from appliance.import_steps.host import Observer, Step
from appliance.settings import ImportSettings
from bundleformat.errors import LimitExceededError, RefusalError, StorageFaultError
from bundleformat.manifest import Manifest
from tests.support.importing import (
    FACTS,
    Host,
    import_bundle,
    preview_import,
    refuse,
)
from tests.support.publisher import Published, republish


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"kinds": ("model",)}, UnsuitableHostError),
        ({"store_bytes": 2**20}, LimitExceededError),
    ],
)
def test_what_the_settings_do_not_take_is_refused_before_a_byte_is_written(
    host: Host, bundle: Published, settings: dict[str, Any], kind: type[RefusalError]
) -> None:
    if kind is LimitExceededError:
        # The quota's least is more than the bundle: something is there already.
        place = host.store.folder
        place.mkdir()
        (place / ("0" * 64)).write_bytes(bytes(2**20))
    parts = replace(host.parts(), settings=ImportSettings.model_validate(settings))
    seen: list[Step] = []
    with pytest.raises(kind):
        import_bundle(parts, bundle.folder, observer=Observer(on_step=seen.append))
    assert seen[-1] is Step.PREFLIGHT
    assert host.events("bundle.verified") == []
    (record,) = map(json.loads, host.events("bundle.refused"))
    assert (record["step"], record["operator_uid"]) == ("preflight", 1000)
    assert list(host.staging.iterdir()) == []
    with pytest.raises(kind):
        preview_import(parts, bundle.folder)
    assert len(host.events("bundle.refused")) == 1


def newer_program(manifest: Manifest) -> Manifest:
    return replace(manifest, minimum_version="0.1.1")


def test_a_bundle_for_a_newer_program_is_refused(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    asking = republish(
        bundle, tmp_path / "asking", manifest=newer_program(bundle.manifest)
    )
    error = refuse(host, asking.folder, UnsuitableHostError)
    assert (error.expected, error.actual) == ("at least 0.1.1", "0.1.0")
    newer = replace(FACTS, program=(0, 1, 1))
    import_bundle(replace(host.parts(), read_facts=lambda: newer), asking.folder)
    assert host.active() == {"main": 1}


def test_too_few_inodes_are_a_fault_before_the_first_byte(
    host: Host, bundle: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(host.staging)
    full = os.statvfs_result((*free[:5], 1_000, 3, 3, *free[8:10], free.f_fsid))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    rows, files = host.rows(), host.files()
    with pytest.raises(StorageFaultError) as caught:
        import_bundle(host.parts(), bundle.folder)
    assert caught.value.actual == "3"
    assert caught.value.expected.endswith("inodes free")
    assert (host.rows(), host.files()) == (rows, files)


def test_every_arrow_that_was_passed_is_on_record_in_its_order(
    host: Host, bundle: Published
) -> None:
    done = import_bundle(host.parts(), bundle.folder)
    with host.database.begin() as connection:
        query = "SELECT event FROM record WHERE event LIKE 'bundle.%' ORDER BY seq"
        events = list(connection.exec_driver_sql(query).scalars())
    assert events == [
        "bundle.verified",
        "bundle.copied",
        "bundle.examined",
        "bundle.policies_checked",
        "bundle.loaded",
        "bundle.admitted",
        "bundle.imported",
    ]
    identities = {
        (record["version"], record["manifest_sha256"])
        for event in events
        for record in map(json.loads, host.events(event))
    }
    assert len(identities) == 1
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["generation"] == done.generation
    assert receipt["operator_uid"] == 1000
    assert receipt["media"] == 1
    assert receipt["thresholds"]["root"] == 1
    assert receipt["digest"] == "sha256"
    assert receipt["signed_by"] == list(done.bundle.signed_by)
    assert receipt["checks"][0] == "signatures"
    total = sum(each.size_bytes for each in bundle.manifest.artifacts)
    assert (receipt["copied_bytes"], receipt["reused_bytes"]) == (total, 0)


def test_a_refusal_after_some_arrows_is_one_record_more(
    host: Host, bundle: Published
) -> None:
    def fail(*_: Path, where: str) -> Any:
        raise LimitExceededError("too deep", where=where)

    refuse(host, bundle.folder, LimitExceededError, host.parts(examine=fail))
    assert len(host.events("bundle.verified")) == 1
    assert len(host.events("bundle.copied")) == 1
    assert host.events("bundle.examined") == []
