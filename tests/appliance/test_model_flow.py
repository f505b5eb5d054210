"""One model is verified, taken out of service, and put back."""

import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import generation_flow, model_flow, store_flow
from appliance.registry import captures, catalogue, taken_out
from appliance.registry.catalogue import ActiveModel, Reason
from bundleformat.digest import sha256_of
from bundleformat.errors import ConflictError, MissingError
from bundleformat.manifest import model_digest
from tests.support.generations import Kept, kept_host, split_manifest
from tests.support.publisher import NOW

PARTS = {"big-00001-of-00002": b"first", "big-00002-of-00002": b"second half"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = kept_host(tmp_path / "home")
    kept.deliver(1, {"model/a": b"weights", "model/b": b"others"})
    yield kept
    kept.host.close()


def served(kept: Kept) -> tuple[ActiveModel, ...]:
    with kept.host.database.begin() as connection:
        return catalogue.active_models(connection)


def names(kept: Kept) -> list[str]:
    return [model.name for model in served(kept)]


def test_a_model_that_is_not_there_is_refused(kept: Kept) -> None:
    before = kept.host.rows()
    for refused in (
        lambda: model_flow.verify_models(kept.parts, "none"),
        lambda: model_flow.remove_model(kept.parts, "none"),
        lambda: model_flow.restore_model(kept.parts, "none"),
        lambda: model_flow.set_capture(kept.parts, "none", "digest"),
    ):
        with pytest.raises(MissingError) as caught:
            refused()
        assert caught.value.where == "none"
    with pytest.raises(ConflictError):
        model_flow.restore_model(kept.parts, "a")
    assert kept.host.rows() == before


def test_what_a_model_allows_to_be_captured_goes_by_its_name_and_is_on_record(
    kept: Kept,
) -> None:
    def allowed() -> dict[str, str]:
        with kept.host.database.begin() as connection:
            models = model_flow.list_models(connection)
        return {each.model.name: each.capture for each in models}

    assert allowed() == {"a": "full", "b": "full"}
    model_flow.set_capture(kept.parts, "a", "metadata")
    model_flow.set_capture(kept.parts, "a", "digest")
    # Other bytes under the name lift nothing, and the same under another have none.
    kept.deliver(2, {"model/a": b"newer", "model/b": b"others", "model/c": b"weights"})
    assert allowed() == {"a": "digest", "b": "full", "c": "full"}
    model_flow.set_capture(kept.parts, "a", "full")
    assert allowed()["a"] == "full"
    said = [json.loads(record) for record in kept.host.events("model.changed")]
    assert [(each["was"]["capture"], each["capture"]) for each in said] == [
        ("full", "metadata"),
        ("metadata", "digest"),
        ("digest", "full"),
    ]


def test_every_change_of_a_model_names_who_did_it(kept: Kept) -> None:
    model_flow.set_capture(kept.parts, "a", "digest")
    model_flow.remove_model(kept.parts, "a")
    model_flow.restore_model(kept.parts, "a")
    with kept.host.database.begin() as connection:
        taken_out.take_out(connection, sha256_of(b"weights"), crashes=3, now=NOW)
    model_flow.restore_model(kept.parts, "a")
    for event in ("changed", "removed", "restored", "put_back"):
        (record,) = kept.host.events(f"model.{event}")
        assert json.loads(record)["operator_uid"] == os.getuid(), event


def test_a_level_that_this_release_does_not_know_allows_the_least(kept: Kept) -> None:
    model_flow.set_capture(kept.parts, "a", "digest")
    with kept.host.database.begin() as connection:
        connection.exec_driver_sql("UPDATE model_capture SET capture = 'hashed'")
        assert captures.model_captures(connection) == {"a": "metadata"}


def test_a_removed_model_is_served_no_more_and_restored_again(kept: Kept) -> None:
    assert [model.name for model in model_flow.remove_model(kept.parts, "a")] == ["a"]
    assert names(kept) == ["b"]
    with pytest.raises(MissingError):
        model_flow.remove_model(kept.parts, "a")
    (record,) = kept.host.events("model.removed")
    assert json.loads(record)["model"]["sha256"] == sha256_of(b"weights")
    model_flow.restore_model(kept.parts, "a")
    assert names(kept) == ["a", "b"]
    assert len(kept.host.events("model.restored")) == 1


def test_a_model_that_was_taken_out_is_listed_so_and_put_back(kept: Kept) -> None:
    kept.deliver(2, {"model/a": b"weights", "model/b": b"b", "model/c": b"weights"})

    def listed() -> dict[str, bool]:
        with kept.host.database.begin() as connection:
            models = model_flow.list_models(connection)
        return {each.model.name: each.taken_out for each in models}

    with kept.host.database.begin() as connection:
        taken_out.take_out(connection, sha256_of(b"weights"), crashes=3, now=NOW)
    # It is a matter of bytes, not of names, and what is taken out is still offered.
    assert listed() == {"a": True, "b": False, "c": True}
    assert names(kept) == ["a", "b", "c"]
    with pytest.raises(ConflictError):
        model_flow.restore_model(kept.parts, "b")
    back = model_flow.restore_model(kept.parts, "c")
    assert [model.name for model in back] == ["a", "c"]
    assert listed() == {"a": False, "b": False, "c": False}
    records = [json.loads(each) for each in kept.host.events("model.put_back")]
    assert [each["model"]["name"] for each in records] == ["a", "c"]
    assert {each["reason"] for each in records} == {"operator"}
    assert kept.host.events("model.restored") == []
    with pytest.raises(ConflictError):
        model_flow.restore_model(kept.parts, "c")


def test_a_removal_holds_for_the_bytes_under_every_name(kept: Kept) -> None:
    kept.deliver(2, {"model/a": b"weights", "model/c": b"weights", "model/d": b"d"})
    gone = model_flow.remove_model(kept.parts, "a")
    assert [model.name for model in gone] == ["a", "c"]
    assert len(kept.host.events("model.removed")) == 2
    kept.deliver(3, {"model/e": b"weights"})
    assert names(kept) == []


def test_other_bytes_under_the_name_are_served_and_a_rollback_brings_none_back(
    kept: Kept,
) -> None:
    model_flow.remove_model(kept.parts, "a")
    kept.deliver(2, {"model/a": b"better"})
    assert names(kept) == ["a"]
    generation_flow.activate(
        kept.parts, 1, reason=Reason.ROLLBACK, environments=kept.environments
    )
    assert names(kept) == ["b"]


def test_a_model_whose_files_were_collected_is_not_restored(kept: Kept) -> None:
    model_flow.remove_model(kept.parts, "a")
    store_flow.collect(kept.parts, environments=kept.environments)
    before = kept.host.rows()
    with pytest.raises(MissingError) as caught:
        model_flow.restore_model(kept.parts, "a")
    assert "bundle 1" in caught.value.hint
    assert kept.host.rows() == before
    kept.deliver(1, {"model/a": b"weights", "model/b": b"others"})
    assert names(kept) == ["b"]
    model_flow.restore_model(kept.parts, "a")
    assert names(kept) == ["a", "b"]


def test_a_split_model_is_one_model_of_several_files(kept: Kept) -> None:
    manifest = split_manifest(PARTS, version=2)
    kept.put(manifest, PARTS.values())
    (model,) = served(kept)
    assert model.sha256 == model_digest(manifest.artifacts[0])
    assert model.size_bytes == sum(map(len, PARTS.values()))
    paths = kept.host.store.paths_of(model)
    assert [path.read_bytes() for path in paths] == list(PARTS.values())


def test_every_part_is_verified_and_a_damaged_one_named(kept: Kept) -> None:
    kept.put(split_manifest(PARTS, version=2), PARTS.values())
    told: list[tuple[int, int]] = []
    (whole,) = model_flow.verify_models(
        kept.parts, progress=lambda *each: told.append(each)
    )
    assert whole.problems == ()
    assert told[-1] == (16, 16)
    second = kept.path(PARTS["big-00002-of-00002"])
    second.unlink()
    (check,) = model_flow.verify_models(kept.parts, "big-00001-of-00002")
    assert check.problems == ((check.model.parts[1], "missing"),)
    second.write_bytes(b"second HALF")
    (check,) = model_flow.verify_models(kept.parts)
    assert check.problems == ((check.model.parts[1], "damaged"),)


@pytest.mark.parametrize(
    ("review_by", "late"), [(None, False), ("2026-11-22", False), ("2026-11-21", True)]
)
def test_a_review_is_overdue_from_the_day_after(
    kept: Kept, review_by: str | None, *, late: bool
) -> None:
    model = served(kept)[0]
    model = replace(model, terms=replace(model.terms, review_by=review_by))
    assert model_flow.overdue(model, today=dt.date(2026, 11, 22)) is late
