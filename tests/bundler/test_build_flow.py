"""A build that goes wrong in the middle leaves nothing; one that ends is whole."""

import datetime as dt
import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    ExpiredError,
    LimitExceededError,
    StorageFaultError,
    UsageError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.paths import parse_name
from bundler.build_flow import BuildPlan, build_bundle
from bundler.contents.spec import BundleSpec, ModelSpec, PolicySpec
from bundler.pack import new_folder, write_new_file
from bundler.sources.wanted import LocalFile
from tests.support.publisher import NOW, Keys, make_root, new_keys


@dataclass
class Saboteur:
    """A meter that does something at the first byte of a stage."""

    label: str = ""
    act: Callable[[], None] = lambda: None
    stages: list[tuple[str, int]] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    def stage(self, label: str, total_bytes: int) -> None:
        self.stages.append((label, total_bytes))
        self.counted.append(0)

    def advance(self, count_bytes: int) -> None:
        first = self.counted[-1] == 0
        self.counted[-1] += count_bytes
        if first and self.stages[-1][0] == self.label:
            self.act()


@pytest.fixture
def keys() -> Keys:
    return new_keys()


@pytest.fixture
def plan(tmp_path: Path, tiny_model: Path, keys: Keys) -> BuildPlan:
    model = tmp_path / "source" / "tiny.gguf"
    model.parent.mkdir()
    model.write_bytes(tiny_model.read_bytes())
    policy = tmp_path / "source" / "site.cedar"
    policy.write_text("permit (principal, action, resource);\n")
    spec = BundleSpec(
        channel=parse_name("main"),
        version=1,
        models=(
            ModelSpec(
                name=parse_name("tiny"),
                source=LocalFile(path=model),
                licence="Apache-2.0",
                origin="a test",
                allowed_regions=("in-blr",),
            ),
        ),
        policies=(PolicySpec(name=parse_name("site"), path=policy),),
    )
    return BuildPlan(
        spec=spec,
        roots=(make_root(keys),),
        keys=keys.publishing,
        out=tmp_path / "out" / "bundle",
        chunk_bytes=16_384,
        created=NOW,
        expires=NOW + dt.timedelta(days=30),
    )


def build(plan: BuildPlan, meter: Saboteur | None = None) -> Saboteur:
    used = meter or Saboteur()
    build_bundle(plan, now=NOW, limits=DEFAULT_LIMITS, meter=used)
    return used


def refused(plan: BuildPlan, meter: Saboteur, error: type[Error]) -> Error:
    with pytest.raises(error) as caught:
        build(plan, meter)
    assert list(plan.out.parent.iterdir()) == []
    return caught.value


def test_progress_counts_every_byte_of_every_stage(plan: BuildPlan) -> None:
    meter = build(plan)
    sizes = [path.stat().st_size for path in (plan.out.parents[1] / "source").iterdir()]
    assert [label for label, _ in meter.stages] == [
        "Copying tiny",
        "Copying site",
        "Verifying",
    ]
    assert [total for _, total in meter.stages] == meter.counted
    assert meter.counted[:2] == sorted(sizes, reverse=True)
    assert meter.counted[-1] > sum(sizes)


@pytest.mark.parametrize("label", ["Copying tiny", "Copying site", "Verifying"])
def test_an_interrupt_in_any_stage_leaves_nothing(plan: BuildPlan, label: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(plan, Saboteur(label, interrupt))
    assert list(plan.out.parent.iterdir()) == []


@pytest.mark.parametrize("change", [b"", b"more"], ids=["touched", "longer"])
def test_a_source_that_changes_while_it_is_copied_is_refused(
    plan: BuildPlan, change: bytes
) -> None:
    path = plan.out.parents[1] / "source" / "tiny.gguf"

    def write() -> None:
        path.write_bytes(path.read_bytes() + change)

    error = refused(plan, Saboteur("Copying tiny", write), ConflictError)
    assert error.where == str(path)


def test_what_is_written_is_verified_before_it_is_called_done(plan: BuildPlan) -> None:
    def flip() -> None:
        chunks = plan.out.parent.rglob("c/*/*")
        last = max(chunks, key=lambda path: path.stat().st_size)
        last.write_bytes(bytes(last.stat().st_size))

    refused(plan, Saboteur("Copying site", flip), DigestMismatchError)


def test_a_name_taken_meanwhile_is_not_overwritten(plan: BuildPlan) -> None:
    def take() -> None:
        plan.out.mkdir()
        (plan.out / "theirs").write_text("precious")

    with pytest.raises(ConflictError):
        build(plan, Saboteur("Verifying", take))
    assert [path.name for path in plan.out.parent.iterdir()] == ["bundle"]
    assert (plan.out / "theirs").read_text() == "precious"


def test_a_full_disk_is_a_fault_and_leaves_nothing(plan: BuildPlan) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, before[1]))
    try:
        error = refused(plan, Saboteur(), StorageFaultError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.exit_status == 4


def test_a_source_above_the_limit_is_refused_before_it_is_copied(
    plan: BuildPlan,
) -> None:
    with pytest.raises(LimitExceededError):
        build_bundle(
            plan,
            now=NOW,
            limits=replace(DEFAULT_LIMITS, artifact_bytes=1_000),
            meter=Saboteur(),
        )
    assert not plan.out.parent.exists()


@pytest.mark.parametrize(
    ("days", "error"), [(2, UsageError), (-31, ExpiredError), (-30, ExpiredError)]
)
def test_a_time_that_hosts_could_not_use_is_refused_before_anything_is_copied(
    plan: BuildPlan, days: int, error: type[Error]
) -> None:
    created = NOW + dt.timedelta(days=days)
    late = replace(plan, created=created, expires=created + dt.timedelta(days=30))
    meter = Saboteur()
    with pytest.raises(error):
        build(late, meter)
    assert meter.stages == []
    assert not plan.out.parent.exists()


def test_bytes_that_occur_twice_are_stored_once(plan: BuildPlan) -> None:
    twin = replace(plan.spec.models[0], name=parse_name("twin"))
    spec = replace(plan.spec, models=(*plan.spec.models, twin))
    build(replace(plan, spec=spec))
    build(replace(plan, out=plan.out.with_name("single")))
    chunks = [
        sorted(p.name for p in f.rglob("c/*/*")) for f in plan.out.parent.iterdir()
    ]
    assert len(chunks[0]) == len(chunks[1])


def test_a_folder_that_cannot_be_made_is_a_fault() -> None:
    with pytest.raises(StorageFaultError), new_folder(Path("/proc/none/bundle")):
        pytest.fail("the folder was given")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StorageFaultError):
            write_new_file(tmp_path / "key", bytes(20), mode=0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_dangling_link_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError):
        write_new_file(tmp_path / "key", b"x", mode=0o600)
    assert not (tmp_path / "elsewhere").exists()
