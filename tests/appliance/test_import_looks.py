"""Looking at a bundle without importing it: nothing changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.import_steps.host import Observer
from bundleformat.errors import (
    DigestMismatchError,
    MalformedError,
    RefusalError,
)
from bundleformat.layout import chunk_path
from tests.support.importing import (
    Host,
    import_bundle,
    inspect_bundle,
    middle_chunk,
    preview_import,
    verify_bundle,
)
from tests.support.publisher import Published, next_version, publish_bundle


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


def test_a_preview_refuses_a_policy_that_the_import_would_refuse(
    host: Host, bundle: Published
) -> None:
    def reject(policies: tuple[tuple[str, bytes], ...]) -> None:
        raise MalformedError("no @id", where=policies[0][0])

    rows, files = host.rows(), host.files()
    with pytest.raises(MalformedError) as caught:
        preview_import(replace(host.parts(), check_policies=reject), bundle.folder)
    assert caught.value.where == "local"
    assert (host.rows(), host.files()) == (rows, files)


def test_a_preview_checks_the_policies_together_with_those_of_other_channels(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    other = publish_bundle(
        tmp_path / "other",
        policies=[("second", b"// in several chunks\n")],
        channel="extra",
        chunk_bytes=7,
    )
    host.trust(other)
    seen: list[tuple[tuple[str, bytes], ...]] = []
    parts = replace(host.parts(), check_policies=seen.append)
    plan = preview_import(parts, other.folder, channel="extra")
    assert seen == [
        (("local", b"// a policy\n"), ("second", b"// in several chunks\n"))
    ]
    assert plan.withdrawn == ()


def test_a_preview_refuses_a_policy_whose_bytes_were_changed(
    host: Host, bundle: Published
) -> None:
    (chunk,) = bundle.manifest.artifacts[1].chunks
    (bundle.folder / chunk_path(chunk.sha256)).write_bytes(b"// a pOlicy\n")
    rows = host.rows()
    with pytest.raises(DigestMismatchError) as caught:
        preview_import(host.parts(), bundle.folder)
    assert caught.value.where == chunk_path(chunk.sha256)
    assert host.rows() == rows


def test_inspect_and_verify_change_nothing(host: Host, bundle: Published) -> None:
    rows, files = host.rows(), host.files()
    looked = inspect_bundle(host.parts(), bundle.folder)
    seen: list[tuple[int, int]] = []
    observer = Observer(on_progress=lambda *pair: seen.append(pair))
    checked = verify_bundle(host.parts(), bundle.folder, observer=observer)
    assert looked.manifest == checked.bundle.manifest == bundle.manifest
    assert checked.whole
    assert seen[-1][0] == seen[-1][1]
    middle_chunk(bundle).write_bytes(b"x")
    inspect_bundle(host.parts(), bundle.folder)
    with pytest.raises(DigestMismatchError):
        verify_bundle(host.parts(), bundle.folder)
    assert (host.rows(), host.files()) == (rows, files)
