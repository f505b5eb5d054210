"""What a bundle asks of a host, compared with what the host is."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from appliance.errors import UnsuitableHostError
from appliance.intake import preflight
from appliance.intake.host_facts import HostFacts, cpu_level, read_host_facts
from appliance.intake.preflight import RESERVE_BYTES, RESERVE_INODES, Need
from appliance.intake.staging import Room
from bundleformat.artifact import Environment
from bundleformat.digest import sha256_of
from bundleformat.errors import LimitExceededError, StorageFaultError
from bundleformat.manifest import FORMAT, Artifact, Chunk, Manifest, encode_manifest
from bundleformat.paths import ArchivePath, Name
from bundler.installer import install as installer
from tests.support.importing import FACTS
from tests.support.publisher import NOW, TERMS

ENVIRONMENT = Environment(
    python="3.11",
    platform="linux_x86_64",
    glibc="2.34",
    cpu="x86-64-v3",
    role="appliance",
    wheels=(),
)

CARRIED: tuple[tuple[dict[str, Any], ...], ...] = (
    ({},),
    ({"cpu": "x86-64-v4"}, {"cpu": "x86-64-v2"}),
    ({"cpu": "x86-64-v2"}, {"cpu": "x86-64-v3"}, {"cpu": "x86-64-v4"}),
    ({"glibc": "2.39", "cpu": "x86-64-v4"}, {"glibc": "2.17", "cpu": "x86-64"}),
    ({"python": "3.12"}, {"python": "3.13", "cpu": "x86-64"}),
)
"""What a bundle may carry Sallyport for."""

HOSTS = tuple(
    replace(FACTS, cpu_level=level, glibc=glibc, python=python)
    for level in (1, 2, 3, 4)
    for glibc in ((2, 17), (2, 36), (2, 40))
    for python in ((3, 11), (3, 12))
)
"""Kinds of host that a bundle may come to."""

V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


def artifact(environment: Environment | None = None) -> Artifact:
    sha256 = sha256_of(b"x")
    return Artifact(
        kind="lock" if environment else "model",
        name=Name("a"),
        path=ArchivePath("locks/pylock.a.toml" if environment else "models/a.gguf"),
        size_bytes=1,
        sha256=sha256,
        chunks=(Chunk(sha256=sha256, size_bytes=1),),
        model=None if environment else TERMS,
        environment=environment,
    )


def manifest(*artifacts: Artifact, minimum_version: str | None = None) -> Manifest:
    return Manifest(
        format=FORMAT,
        channel=Name("main"),
        version=1,
        created=NOW,
        artifacts=artifacts,
        minimum_version=minimum_version,
    )


@pytest.mark.parametrize(
    ("change", "expected", "actual"),
    [
        ({"cpu": "x86-64-v4"}, "cpu x86-64-v4", "cpu x86-64-v3"),
        ({"glibc": "2.37"}, "glibc 2.37", "glibc 2.36"),
        ({"glibc": "2.100"}, "glibc 2.100", "glibc 2.36"),
        ({"python": "3.12"}, "python 3.12", "python 3.11"),
        ({"platform": "linux_aarch64"}, "platform linux_aarch64", None),
    ],
)
def test_an_environment_for_the_appliance_that_cannot_run_here_is_refused_with_numbers(
    change: dict[str, Any], expected: str, actual: str | None
) -> None:
    wanted = manifest(artifact(replace(ENVIRONMENT, **change)))
    found = preflight.fits(wanted, FACTS)
    with pytest.raises(UnsuitableHostError) as caught:
        preflight.check_fits(found)
    assert caught.value.where == "a"
    assert caught.value.expected == expected
    assert caught.value.actual == actual or actual is None


def appliances(*changes: dict[str, Any]) -> Manifest:
    """A bundle that carries Sallyport for one kind of host or several."""
    return manifest(
        *(
            replace(
                artifact(replace(ENVIRONMENT, **change)), name=Name(f"self-{number}")
            )
            for number, change in enumerate(changes)
        )
    )


def test_a_bundle_none_of_whose_environments_for_the_appliance_fits_is_refused() -> (
    None
):
    wanted = appliances({"cpu": "x86-64-v4"}, {"python": "3.12", "cpu": "x86-64-v4"})
    with pytest.raises(UnsuitableHostError) as caught:
        preflight.check_fits(preflight.fits(wanted, FACTS))
    assert caught.value.where == "self-0, self-1"
    assert caught.value.expected == "cpu x86-64-v4 or cpu x86-64-v4, python 3.12"
    assert caught.value.actual == "cpu x86-64-v3 or cpu x86-64-v3, python 3.11"


def test_one_environment_for_the_appliance_that_fits_is_enough() -> None:
    wanted = appliances({"cpu": "x86-64-v4"}, {}, {"python": "3.12"})
    found = preflight.fits(wanted, FACTS)
    assert [fit.name for fit in found if not fit.misfits] == ["self-1"]
    preflight.check_fits(found)


@pytest.mark.parametrize("facts", HOSTS)
@pytest.mark.parametrize("changes", CARRIED)
def test_an_import_takes_the_bundles_in_which_the_installer_finds_its_environment(
    facts: HostFacts, changes: tuple[dict[str, Any], ...]
) -> None:
    wanted = appliances(*changes)
    found = preflight.fits(wanted, facts)
    machine = {
        "python": ".".join(map(str, facts.python)),
        "platform": facts.platform,
        "glibc": ".".join(map(str, facts.glibc)),
        "cpu": "x86-64" if facts.cpu_level == 1 else f"x86-64-v{facts.cpu_level}",
    }
    parsed = json.loads(encode_manifest(wanted))
    try:
        chosen = installer.choose_environment(parsed, machine)
    except installer.InstallError:
        with pytest.raises(UnsuitableHostError):
            preflight.check_fits(found)
        return
    preflight.check_fits(found)
    suitable = [
        each.environment
        for each, fit in zip(wanted.artifacts, found, strict=True)
        if each.environment is not None and not fit.misfits
    ]
    assert chosen["cpu"] == max(each.cpu for each in suitable)
    assert any(chosen == {**asdict(each), "wheels": []} for each in suitable)


def test_an_environment_for_a_team_that_cannot_run_here_is_only_told() -> None:
    wanted = replace(ENVIRONMENT, role="team", cpu="x86-64-v4", python="3.13")
    (fit,) = preflight.fits(manifest(artifact(wanted)), FACTS)
    assert [need for need, _ in fit.misfits] == ["cpu x86-64-v4", "python 3.13"]
    preflight.check_fits((fit,))


def test_an_environment_that_fits_is_accepted() -> None:
    for cpu in ("x86-64", "x86-64-v2", "x86-64-v3"):
        wanted = replace(ENVIRONMENT, cpu=cpu, glibc="2.9")
        (fit,) = preflight.fits(manifest(artifact(wanted)), FACTS)
        assert fit.misfits == ()


@pytest.mark.parametrize("wanted", ["0.1.1", "0.2.0", "1.0.0", "0.10.0"])
def test_a_bundle_for_a_newer_program_is_refused(wanted: str) -> None:
    with pytest.raises(UnsuitableHostError) as caught:
        preflight.check_program(manifest(minimum_version=wanted), FACTS)
    assert caught.value.actual == "0.1.0"


@pytest.mark.parametrize("wanted", [None, "0.1.0", "0.0.9"])
def test_a_bundle_for_this_program_or_an_older_one_is_accepted(
    wanted: str | None,
) -> None:
    preflight.check_program(manifest(minimum_version=wanted), FACTS)


def test_a_kind_that_this_host_does_not_take_is_refused() -> None:
    with pytest.raises(UnsuitableHostError) as caught:
        preflight.check_kinds(manifest(artifact()), ("policy",))
    assert (caught.value.where, caught.value.actual) == ("models/a.gguf", "model")
    preflight.check_kinds(manifest(artifact()), ("model",))


@pytest.mark.parametrize(
    ("room", "unit"),
    [
        (Room(free_bytes=9, free_inodes=99), "bytes"),
        (Room(free_bytes=10, free_inodes=4), "inodes"),
    ],
)
def test_too_little_room_is_a_fault_with_numbers(room: Room, unit: str) -> None:
    with pytest.raises(StorageFaultError) as caught:
        preflight.check_room(Need(bytes_=10, inodes=5), room, where="here")
    assert caught.value.expected.endswith(f" {unit} free")


def test_just_enough_room_is_enough_and_not_every_disk_counts_files() -> None:
    need = Need(bytes_=10, inodes=5)
    preflight.check_room(need, Room(free_bytes=10, free_inodes=5), where="")
    preflight.check_room(need, Room(free_bytes=10, free_inodes=None), where="")


def test_what_is_needed_is_less_what_was_staged_before() -> None:
    need = preflight.need_of([artifact(), artifact()], staged_bytes=1)
    assert need.bytes_ == 1 + RESERVE_BYTES
    assert need.inodes == 4 + RESERVE_INODES


def test_a_store_that_would_outgrow_its_quota_is_refused() -> None:
    preflight.check_quota(held_bytes=6, new_bytes=4, quota_bytes=10)
    with pytest.raises(LimitExceededError) as caught:
        preflight.check_quota(held_bytes=6, new_bytes=5, quota_bytes=10)
    assert caught.value.expected == "at most 10 bytes"


def test_models_that_the_region_does_not_allow_are_named() -> None:
    wanted = manifest(artifact())
    assert preflight.not_allowed_here(wanted, "de-fra") == ("a",)
    assert preflight.not_allowed_here(wanted, "in-blr") == ()
    assert preflight.not_allowed_here(wanted, None) == ()


@pytest.mark.parametrize(
    ("flags", "level"), [("", 1), (V2, 2), (V3, 3), (V4, 4), (f"{V2} avx512f", 2)]
)
def test_the_level_of_a_processor_is_the_highest_whose_flags_are_all_there(
    flags: str, level: int
) -> None:
    assert cpu_level(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t:\n") == level
    assert cpu_level("no flags at all") == 1


def test_this_host_says_what_it_is() -> None:
    found = read_host_facts()
    assert isinstance(found, HostFacts)
    assert found.python >= (3, 11)
    assert found.glibc >= (2, 17)
    assert found.platform.startswith("linux_")
