"""Builds from every kind of source, and of every kind of bundle."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from bundleformat.artifact import model_digest
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    LimitExceededError,
    MalformedError,
    MissingError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact
from bundleformat.media import open_volumes
from bundleformat.paths import parse_name
from bundleformat.verify import VerifiedBundle
from bundler.build_flow import BuildPlan, build_bundle, build_draft
from bundler.contents.since import read_manifest_file, read_old_manifest, since
from bundler.contents.spec import BundleSpec, ModelSpec, PolicySpec
from bundler.draft_flow import complete_draft
from bundler.own_output import verify_own_output
from bundler.pack_flow import build_packed
from bundler.progress import SilentMeter
from bundler.signing.publish import PublishingKeys
from bundler.sources.wanted import HubFile, LocalFile, ModelSource, OllamaModel
from tests.bundler.sources.test_ollama import OllamaStore
from tests.support.gguf_writer import TinyModel, write_model, write_split_model
from tests.support.hub_server import COMMIT, REPO, Hub, serving
from tests.support.publisher import NOW, Keys, make_root, new_keys

EXPIRES = NOW.replace(year=2027)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return new_keys()


@pytest.fixture
def source_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "site.cedar").write_text("permit (principal, action, resource);\n")
    return folder


@pytest.fixture
def plan(tmp_path: Path, source_folder: Path, keys: Keys) -> BuildPlan:
    model = write_model(source_folder / "tiny.gguf")
    return BuildPlan(
        spec=BundleSpec(
            channel=parse_name("main"),
            version=1,
            models=(wanted(LocalFile(path=model)),),
            policies=(
                PolicySpec(name=parse_name("site"), path=source_folder / "site.cedar"),
            ),
        ),
        roots=(make_root(keys),),
        keys=keys.publishing,
        out=tmp_path / "out" / "bundle",
        chunk_bytes=65_536,
        created=NOW,
        expires=EXPIRES,
    )


def wanted(source: ModelSource, *, origin: str | None = "a test") -> ModelSpec:
    return ModelSpec(
        name=parse_name("tiny"),
        source=source,
        licence="Apache-2.0",
        origin=origin,
        allowed_regions=("in-blr",),
        intended_use="tests",
        review_by="2027-01-31",
    )


def asking(plan: BuildPlan, *models: ModelSpec) -> BuildPlan:
    return replace(plan, spec=replace(plan.spec, models=models))


def build(plan: BuildPlan) -> VerifiedBundle:
    return build_bundle(plan, now=NOW, limits=DEFAULT_LIMITS, meter=SilentMeter())


def refused(plan: BuildPlan, kind: type[Error]) -> Error:
    with pytest.raises(kind) as caught:
        build(plan)
    folder = plan.out.parent
    assert not folder.exists() or list(folder.iterdir()) == []
    return caught.value


def artifacts(bundle: VerifiedBundle) -> dict[str, Artifact]:
    return {artifact.path: artifact for artifact in bundle.manifest.artifacts}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_gap_in_a_split_model_is_named(plan: BuildPlan, source_folder: Path) -> None:
    parts = write_split_model(source_folder / "m.gguf")
    parts[1].unlink()
    error = refused(asking(plan, wanted(LocalFile(path=parts[0]))), MissingError)
    assert error.where == str(parts[1])


def test_a_foreign_part_is_named(plan: BuildPlan, source_folder: Path) -> None:
    parts = write_split_model(source_folder / "m.gguf")
    other = write_split_model(source_folder / "o.gguf", TinyModel(layers=3))
    parts[2].write_bytes(other[2].read_bytes())
    error = refused(asking(plan, wanted(LocalFile(path=parts[0]))), MalformedError)
    assert error.where.startswith(f"model tiny: {parts[2]}: split.")


def test_a_split_model_becomes_a_model_and_its_parts(
    plan: BuildPlan, source_folder: Path
) -> None:
    parts = write_split_model(source_folder / "m.gguf")
    found = artifacts(build(asking(plan, wanted(LocalFile(path=parts[0])))))
    count = len(parts)
    paths = [f"models/tiny-{n:05d}-of-{count:05d}.gguf" for n in range(1, count + 1)]
    assert [path for path in found if path.startswith("models/")] == paths
    digests = [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    model = found[paths[0]]
    assert model.model is not None
    assert model.model.parts == tuple(digests)
    assert [found[path].kind for path in paths] == ["model"] + ["part"] * (count - 1)
    whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert model_digest(model) == whole


def test_what_was_approved_is_in_the_manifest(plan: BuildPlan) -> None:
    terms = artifacts(build(plan))["models/tiny.gguf"].model
    assert terms is not None
    assert (terms.intended_use, terms.review_by) == ("tests", "2027-01-31")


def ollama(source_folder: Path) -> tuple[OllamaStore, OllamaModel]:
    store = OllamaStore(source_folder / "ollama")
    data = (source_folder / "tiny.gguf").read_bytes()
    store.write(store.blob(data, "model"), store.blob(b"MIT", "license"))
    source = OllamaModel(
        store=store.folder,
        host="registry.ollama.ai",
        namespace="library",
        name="tiny",
        tag="1b",
    )
    return store, source


def test_a_corrupt_blob_of_ollama_is_refused_while_it_is_copied(
    plan: BuildPlan, source_folder: Path
) -> None:
    store, source = ollama(source_folder)
    blob = max((store.folder / "blobs").iterdir(), key=lambda p: p.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-100] ^= 1
    blob.write_bytes(data)
    error = refused(asking(plan, wanted(source)), DigestMismatchError)
    assert error.where == str(blob)


def test_a_model_of_ollama_is_built_and_says_where_it_is_from(
    plan: BuildPlan, source_folder: Path
) -> None:
    _, source = ollama(source_folder)
    told: list[str] = []
    bundle = build(replace(asking(plan, wanted(source, origin=None)), tell=told.append))
    model = artifacts(bundle)["models/tiny.gguf"]
    assert model.model is not None
    assert model.model.origin == (
        f"ollama:registry.ollama.ai/library/tiny:1b@sha256:{model.sha256}"
    )
    assert len(told) == 1


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "library"))
    with serving(Hub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub
    close_session()


@pytest.mark.system
@pytest.mark.enable_socket
def test_a_split_model_of_a_hub_is_built_and_says_where_it_is_from(
    plan: BuildPlan, source_folder: Path, tmp_path: Path, hub: Hub
) -> None:
    parts = write_split_model(source_folder / "m.gguf")
    hub.files = {f"q8/{part.name}": part.read_bytes() for part in parts}
    source = HubFile(repo=REPO, revision=COMMIT, file=f"q8/{parts[0].name}")
    chosen = replace(
        asking(plan, wanted(source, origin=None)), cache=tmp_path / "cache"
    )
    bundle = build(chosen)
    model = next(a for a in bundle.manifest.artifacts if a.model is not None)
    assert model.model is not None
    assert model.model.origin == f"hf:{REPO}@{COMMIT}/q8/{parts[0].name}"
    asked = len(hub.requests)
    again = build(replace(chosen, out=chosen.out.with_name("again")))
    assert again.manifest == bundle.manifest
    assert len(hub.requests) == asked + 1


@pytest.mark.system
@pytest.mark.enable_socket
def test_a_download_that_is_no_model_leaves_no_bundle(
    plan: BuildPlan, tmp_path: Path, hub: Hub
) -> None:
    hub.files = {"m.gguf": b"this is not a model, whatever the hub says of it"}
    source = HubFile(repo=REPO, revision=COMMIT, file="m.gguf")
    chosen = replace(asking(plan, wanted(source)), cache=tmp_path / "cache")
    assert refused(chosen, MalformedError).where.startswith("model tiny: ")


def test_too_many_chunks_are_refused_before_anything_is_written(
    plan: BuildPlan,
) -> None:
    small = replace(DEFAULT_LIMITS, chunks=2)
    with pytest.raises(LimitExceededError):
        build_bundle(plan, now=NOW, limits=small, meter=SilentMeter())
    assert not plan.out.parent.exists()


def test_the_same_build_gives_the_same_bytes(plan: BuildPlan) -> None:
    build(plan)
    build(replace(plan, out=plan.out.with_name("again")))
    assert files(plan.out) == files(plan.out.with_name("again"))


@pytest.mark.parametrize("way", ["bundle", "manifest"])
def test_a_differential_bundle_has_only_what_is_new(
    plan: BuildPlan, source_folder: Path, way: str
) -> None:
    build(plan)
    if way == "bundle":
        old = read_old_manifest(plan.out, limits=DEFAULT_LIMITS)
    else:
        path = plan.out / "targets" / "manifest.json"
        old = read_manifest_file(path, limits=DEFAULT_LIMITS)
    (source_folder / "site.cedar").write_text("// changed\n")
    again = replace(
        plan,
        spec=replace(plan.spec, version=2),
        since=since(old, channel=plan.spec.channel, version=2),
        out=plan.out.with_name("diff"),
    )
    bundle = build(again)
    first, second = files(plan.out), files(again.out)
    chunks = {name for name in second if name.startswith("c/")}
    assert chunks
    assert not chunks & set(first)
    assert sum(len(second[name]) for name in chunks) < 10_000
    hint = json.loads(second["volume.json"])
    assert (hint["since"], len(hint["chunks"])) == (1, len(chunks))
    whole = build(replace(again, since=None, out=plan.out.with_name("whole")))
    assert whole.manifest == bundle.manifest


def test_a_chunk_lost_from_a_differential_bundle_is_noticed(
    plan: BuildPlan, source_folder: Path
) -> None:
    old = build(plan).manifest
    (source_folder / "site.cedar").write_text("// changed\n")
    again = replace(
        plan,
        spec=replace(plan.spec, version=2),
        since=since(old, channel=plan.spec.channel, version=2),
        out=plan.out.with_name("diff"),
    )
    build(again)
    next((again.out / "c").glob("*/*")).unlink()
    with open_volumes([again.out]) as volumes, pytest.raises(MissingError):
        verify_own_output(
            volumes,
            roots=plan.roots,
            now=NOW,
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )


@pytest.mark.parametrize(("channel", "version"), [("other", 2), ("main", 1)])
def test_since_takes_only_an_older_bundle_of_the_channel(
    plan: BuildPlan, channel: str, version: int
) -> None:
    old = build(plan).manifest
    with pytest.raises(ConflictError):
        since(old, channel=parse_name(channel), version=version)


def test_a_draft_is_no_bundle_until_others_have_signed(
    plan: BuildPlan, keys: Keys
) -> None:
    unsigned = replace(plan, keys=PublishingKeys(release=(), bundler=()))
    build_draft(unsigned, now=NOW, limits=DEFAULT_LIMITS, meter=SilentMeter())
    names = {path.name for path in (plan.out / "metadata").iterdir()}
    assert names == {"1.root.json", "1.targets.json"}
    metadata = json.loads((plan.out / "metadata" / "1.targets.json").read_text())
    assert metadata["signatures"] == []
    assert metadata["signed"]["expires"] == "2027-11-22T12:00:00Z"
    halfway = replace(
        plan,
        keys=PublishingKeys(release=keys.publishing.release, bundler=()),
        out=plan.out.with_name("signed"),
    )
    build_draft(halfway, now=NOW, limits=DEFAULT_LIMITS, meter=SilentMeter())
    complete_draft(
        halfway.out,
        bundler=keys.publishing.bundler,
        now=NOW,
        limits=DEFAULT_LIMITS,
        meter=SilentMeter(),
    )
    build(replace(plan, out=plan.out.with_name("whole")))
    assert files(halfway.out) == files(plan.out.with_name("whole"))


def test_a_bundle_is_built_onto_volumes_and_into_one_file(plan: BuildPlan) -> None:
    volumes = replace(plan, out=plan.out.with_name("volumes"))
    single = replace(plan, out=plan.out.with_name("b.mbundle"))
    for chosen, volume_bytes in ((volumes, 768 * 1024), (single, None)):
        build_packed(
            chosen,
            volume_bytes=volume_bytes,
            now=NOW,
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )
    folders = sorted(volumes.out.iterdir())
    assert len(folders) > 1
    assert sorted(path.name for path in plan.out.parent.iterdir()) == [
        "b.mbundle",
        "volumes",
    ]
    for paths in (folders, [single.out]):
        with open_volumes(paths) as medium:
            verify_own_output(
                medium,
                roots=plan.roots,
                now=NOW,
                limits=DEFAULT_LIMITS,
                meter=SilentMeter(),
            )


def test_a_packed_build_that_fails_leaves_nothing(plan: BuildPlan) -> None:
    with pytest.raises(LimitExceededError):
        build_packed(
            plan,
            volume_bytes=65_536,
            now=NOW,
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )
    assert list(plan.out.parent.iterdir()) == []
