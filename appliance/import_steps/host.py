"""What an import works with, what it tells while it runs, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine

from appliance.clock import Clock
from appliance.intake.examine import examine_model
from appliance.intake.examine_wheel import examine_wheel
from appliance.intake.host_facts import HostFacts, read_host_facts
from appliance.intake.preflight import Fit
from appliance.intake.provenance import check_provenance
from appliance.ledger.records.events import Draft
from appliance.registry.store import Store
from appliance.settings import ImportSettings
from bundleformat.digest import Sha256
from bundleformat.errors import VolumesMissingError
from bundleformat.gguf import ModelFacts
from bundleformat.manifest import Artifact, Manifest
from bundleformat.verify import VerifiedBundle

Copies = Mapping[Sha256, Path]
"""Where the verified bytes of each artifact lie on this host."""


class Step(StrEnum):
    """Where an import is; the order is that of ``import_flow``."""

    LOCK = "lock"
    VERIFY = "verify"
    PREFLIGHT = "preflight"
    COPY = "copy"
    EXAMINE = "examine"
    CHECK_POLICIES = "check-policies"
    INSTALL_ENVIRONMENTS = "install-environments"
    TRIAL_LOAD = "trial-load"
    ADMIT = "admit"
    ACTIVATE = "activate"
    DONE = "done"


class Examine(Protocol):
    """Examines the model in one file, or in all parts in order, or refuses it."""

    def __call__(self, *paths: Path, where: str) -> ModelFacts:
        """Return the facts; ``where`` names the model in errors."""


class ExamineFile(Protocol):
    """Examines another artifact that is in one file, or refuses it."""

    def __call__(self, path: Path, *, artifact: Artifact) -> object:
        """Return if there is nothing against it; ``artifact`` is what was signed."""


class CheckProvenance(Protocol):
    """Verifies a vendor's signature of a model again, or refuses it."""

    def __call__(self, path: Path, *, artifact: Artifact, manifest: Manifest) -> object:
        """Return if the signature at ``path`` is of what ``manifest`` delivers."""


class Installed(Protocol):
    """An environment that can be used."""

    @property
    def name(self) -> str:
        """What people call it."""


class Environments(Protocol):
    """Installs the environments of bundles."""

    def lacking(
        self, manifest: Manifest, *, unsuitable: frozenset[str]
    ) -> Sequence[Artifact]:
        """Return the locks of those that ``install`` would not find there already.

        Raises an error if this host could install none at all.
        """

    def install(
        self, manifest: Manifest, files: Copies, *, unsuitable: frozenset[str]
    ) -> Sequence[Installed]:
        """Install those of ``manifest`` but the ``unsuitable``, or none of them.

        Nobody uses one before the activation.
        """

    def discard(self, manifest: Manifest) -> object:
        """Remove those of ``manifest``, which nobody uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportHost:
    """What an import works with. Staging and store MUST share a file system.

    Attributes:
        database: The host's database.
        staging: Folder of unfinished copies.
        store: Where admitted artifacts live.
        clock: Where time comes from.
        append_records: Appends drafts to the ledger in the caller's transaction.
        check_policies: Refuses a set of site policies, given as name and bytes.
        trial_load: Has an engine load the model at these paths, or raises; a
            process of its own that is gone afterwards.
        operator_uid: Who runs the import, as the operating system knows them.
        environments: Installs environments.
        settings: What this host takes, and how much of it.
        read_facts: Says what this host is.
        examine: Examines a model.
        examine_wheel: Examines a wheel.
        check_provenance: Verifies a vendor's signature again.
    """

    database: Engine
    staging: Path
    store: Store
    clock: Clock
    append_records: Callable[[Connection, Sequence[Draft]], object]
    check_policies: Callable[[tuple[tuple[str, bytes], ...]], object]
    trial_load: Callable[[tuple[Path, ...]], object]
    operator_uid: int
    environments: Environments
    settings: ImportSettings = field(default_factory=ImportSettings)
    read_facts: Callable[[], HostFacts] = read_host_facts
    examine: Examine = examine_model
    examine_wheel: ExamineFile = examine_wheel
    check_provenance: CheckProvenance = check_provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person asked of one import.

    Attributes:
        media: Where the bundle is: one place, or one for each volume.
        channel: The channel, or None for the only one this host trusts.
        accept_expired: Why an expired bundle is to be accepted this once, in the
            words of whoever decided it, or None.
    """

    media: tuple[Path, ...]
    channel: str | None = None
    accept_expired: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Who is told how far an import is.

    ``on_step`` is called as each step begins, ``on_progress`` with the bytes dealt
    with so far and in total. ``next_volume`` is told which volumes are wanted, and
    says whether somebody put one of them in.
    """

    on_step: Callable[[Step], object] = lambda _step: None
    on_progress: Callable[[int, int], object] = lambda _done, _total: None
    next_volume: Callable[[VolumesMissingError], bool] = lambda _wanted: False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        bundle: The verified bundle.
        active_generation: The generation this very bundle already is, if it is
            active; importing it then repairs what has to be and changes nothing
            else.
        known: This host accepted this very bundle before, and keeps what it has.
        damaged: Names of what an active bundle has lost: the stored bytes are
            missing, unreadable or no longer those admitted.
        moved: Digests of what an interrupted repair brought back to an active
            bundle, maybe off the record.
        updates_trust: It is active already, or delivers nothing, and the medium
            brings news of who is to be trusted.
        withdrawn: What the channel offers now and would not offer afterwards.
        wanted: What has to be on this host afterwards, one artifact a content.
        copy_bytes: What would be copied.
        reused_bytes: Of these, what is not on the media given and lies in the
            store inside something else.
        held_bytes: What the store already has.
        unpacked_bytes: Most that environments which are to be installed take.
        needed_bytes: Room that has to be free.
        needed_inodes: Files for which there has to be room.
        free_bytes: Room on the store's file system.
        free_inodes: Files for which there is room, or None if they are not counted.
        store_bytes: What the store holds now.
        volumes: How many volumes the bundle has, as the given ones say.
        volumes_wanted: Numbers of those that would have to be put in.
        fits: How the bundle's environments fit this host.
        facts: What this host is.
        not_allowed_here: Models whose licence or owner does not allow the region
            of this host; they are imported and never served.
    """

    bundle: VerifiedBundle
    active_generation: int | None
    known: bool
    damaged: tuple[str, ...]
    moved: frozenset[Sha256]
    updates_trust: bool
    withdrawn: tuple[Artifact, ...]
    wanted: Mapping[Sha256, Artifact]
    copy_bytes: int
    reused_bytes: int
    held_bytes: int
    unpacked_bytes: int
    needed_bytes: int
    needed_inodes: int
    free_bytes: int
    free_inodes: int | None
    store_bytes: int
    volumes: int
    volumes_wanted: tuple[int, ...]
    fits: tuple[Fit, ...]
    facts: HostFacts
    not_allowed_here: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What the copying did.

    Attributes:
        copies: Where the verified bytes of each artifact lie.
        medium_bytes: Read from media in this run.
        reused_bytes: Read from other files of the store in this run.
    """

    copies: Copies
    medium_bytes: int
    reused_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        bundle: The verified bundle.
        generation: The generation it is, or None if it delivered nothing.
        already_active: It was active before; nothing anybody can see changed.
        repaired: Names of what was missing or had decayed in the store of an active
            bundle, and is whole again.
        trust_updated: It made no generation, and changed whom this host trusts.
        withdrawn: What the channel offered before and does not offer any more.
        not_allowed_here: Models that this host holds now and may not serve.
        environments: Names of the environments that were installed.
        facts: Those of the models of a new generation, by name.
    """

    bundle: VerifiedBundle
    generation: int | None
    already_active: bool
    repaired: tuple[str, ...] = ()
    trust_updated: bool = False
    withdrawn: tuple[Artifact, ...] = ()
    not_allowed_here: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A look at a medium, every byte of which agrees with what was signed.

    Attributes:
        bundle: The verified bundle.
        chunks: How many chunks were there and were read.
        chunks_of: How many the bundle has.
        size_bytes: Their bytes.
        size_bytes_of: The bundle's bytes.
        volumes_wanted: Numbers of the volumes that hold the others.
        since: Version of the bundle that brought the others, by the medium's own
            account, or None.
    """

    bundle: VerifiedBundle
    chunks: int
    chunks_of: int
    size_bytes: int
    size_bytes_of: int
    volumes_wanted: tuple[int, ...]
    since: int | None

    @property
    def whole(self) -> bool:
        """Whether every chunk of the bundle was there."""
        return self.chunks == self.chunks_of
