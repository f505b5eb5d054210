"""What a bundle asks of this host, compared with what the host is; pure.

Only signed sizes and statements are looked at, before one byte is written. Every
refusal names both numbers, so that a person knows what to change.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.errors import UnsuitableHostError
from appliance.intake.host_facts import HostFacts
from appliance.intake.staging import Room
from bundleformat.errors import LimitExceededError, StorageFaultError
from bundleformat.manifest import Artifact, Environment, Manifest

RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Room an import leaves free, for the ledger above all. Unit: bytes."""

RESERVE_INODES: Final = 64
"""Files an import leaves room for, besides those it makes."""

INODES_OF_A_COPY: Final = 2
"""An unfinished copy and its journal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Whether an environment's programs can run here.

    Attributes:
        name: The environment's.
        role: Whom it is for.
        misfits: What it needs and this host has not, each as need and fact; empty
            if it fits.
    """

    name: str
    role: str
    misfits: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What an import puts on the disk, from signed sizes.

    Attributes:
        bytes_: Bytes, less those an interrupted import left.
        inodes: Files.
    """

    bytes_: int
    inodes: int


NOTHING: Final = Need(bytes_=0, inodes=0)


def need_of(
    missing: Collection[Artifact], *, staged_bytes: int, besides: Need = NOTHING
) -> Need:
    """Return what copying ``missing`` takes, of which some may be there already.

    ``besides`` is what is made of it, while the copies are still there.
    """
    copy_bytes = sum(each.size_bytes for each in missing) - staged_bytes
    return Need(
        bytes_=copy_bytes + besides.bytes_ + RESERVE_BYTES,
        inodes=len(missing) * INODES_OF_A_COPY + besides.inodes + RESERVE_INODES,
    )


def check_room(need: Need, room: Room, *, where: str) -> None:
    """Check that there is room.

    Raises:
        StorageFaultError: There is not.
    """
    pairs: tuple[tuple[str, int, int | None], ...] = (
        ("bytes", need.bytes_, room.free_bytes),
        ("inodes", need.inodes, room.free_inodes),
    )
    for unit, needed, free in pairs:
        if free is not None and needed > free:
            raise StorageFaultError(
                "not enough room",
                where=where,
                expected=f"{needed} {unit} free",
                actual=str(free),
                hint="Free space on this file system, then run this again.",
            )


def check_quota(*, held_bytes: int, new_bytes: int, quota_bytes: int) -> None:
    """Check that the store stays below its quota.

    Raises:
        LimitExceededError: It would not.
    """
    if held_bytes + new_bytes > quota_bytes:
        raise LimitExceededError(
            "the store would grow beyond its quota",
            where="[import] store_bytes",
            expected=f"at most {quota_bytes} bytes",
            actual=f"{held_bytes} bytes and {new_bytes} more",
            hint="Remove what is not used (`store gc`), or raise the setting.",
        )


def check_kinds(manifest: Manifest, allowed: Collection[str]) -> None:
    """Check that this host takes every kind of artifact that is delivered.

    Raises:
        UnsuitableHostError: It does not.
    """
    for artifact in manifest.artifacts:
        if artifact.kind not in allowed:
            raise UnsuitableHostError(
                f"this host takes no artifact of kind {artifact.kind}",
                where=artifact.path,
                expected=", ".join(sorted(allowed)),
                actual=artifact.kind,
                hint="The setting [import] kinds says what it takes.",
            )


def check_program(manifest: Manifest, facts: HostFacts) -> None:
    """Check that this Sallyport is as new as the bundle asks.

    Raises:
        UnsuitableHostError: It is older.
    """
    wanted = manifest.minimum_version
    if wanted is None:
        return
    if _numbers(wanted) > facts.program:
        raise UnsuitableHostError(
            "this bundle needs a newer Sallyport",
            where="minimum_version",
            expected=f"at least {wanted}",
            actual=".".join(map(str, facts.program)),
            hint="Update Sallyport on this host first; a bundle can carry it.",
        )


def fits(manifest: Manifest, facts: HostFacts) -> tuple[Fit, ...]:
    """Return how every environment of ``manifest`` fits this host."""
    return tuple(
        Fit(
            name=artifact.name,
            role=artifact.environment.role,
            misfits=tuple(_misfits(artifact.environment, facts)),
        )
        for artifact in manifest.artifacts
        if artifact.environment is not None
    )


def check_fits(found: Collection[Fit]) -> None:
    """Check that Sallyport itself can run here, if it is in the bundle.

    A bundle may carry it for several kinds of host; that one of its environments
    fits is enough, because the installer takes none that does not.

    Raises:
        UnsuitableHostError: None of them fits.
    """
    own = [fit for fit in found if fit.role == "appliance"]
    if not own or not all(fit.misfits for fit in own):
        return
    raise UnsuitableHostError(
        "no environment for the appliance can run on this host",
        where=", ".join(fit.name for fit in own),
        expected=_either([need for need, _ in fit.misfits] for fit in own),
        actual=_either([fact for _, fact in fit.misfits] for fit in own),
        hint="Build the bundle for this host's target.",
    )


def not_allowed_here(manifest: Manifest, region: str | None) -> tuple[str, ...]:
    """Return the models that a host in ``region`` may hold but not serve.

    A host that cannot prove where it stands serves none, and is told so elsewhere.
    """
    if region is None:
        return ()
    return tuple(
        artifact.name
        for artifact in manifest.artifacts
        if artifact.model is not None and region not in artifact.model.allowed_regions
    )


def _misfits(needs: Environment, facts: HostFacts) -> Iterator[tuple[str, str]]:
    level = _level(needs.cpu)
    if level > facts.cpu_level:
        yield f"cpu {needs.cpu}", f"cpu x86-64-v{facts.cpu_level}"
    if _numbers(needs.glibc) > facts.glibc:
        yield f"glibc {needs.glibc}", f"glibc {_text(facts.glibc)}"
    if _numbers(needs.python) != facts.python:
        yield f"python {needs.python}", f"python {_text(facts.python)}"
    if needs.platform != facts.platform:
        yield f"platform {needs.platform}", f"platform {facts.platform}"


def _either(ways: Iterable[Sequence[str]]) -> str:
    """Return ``ways`` for people, each once."""
    return " or ".join(dict.fromkeys(", ".join(way) for way in ways))


def _level(cpu: str) -> int:
    _, _, level = cpu.rpartition("-v")
    return int(level) if level.isdigit() else 1


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _text(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
