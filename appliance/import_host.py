"""What an import works with, what it tells while it runs, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine

from appliance.clock import Clock
from appliance.intake.examine import examine_model
from appliance.ledger.events import Draft
from appliance.registry.store import Store
from bundleformat.gguf import ModelFacts
from bundleformat.manifest import Artifact
from bundleformat.verify import VerifiedBundle


class Step(StrEnum):
    """Where an import is; the order is that of ``import_flow``."""

    LOCK = "lock"
    VERIFY = "verify"
    PREFLIGHT = "preflight"
    COPY = "copy"
    EXAMINE = "examine"
    CHECK_POLICIES = "check-policies"
    TRIAL_LOAD = "trial-load"
    ADMIT = "admit"
    ACTIVATE = "activate"
    DONE = "done"


class Examine(Protocol):
    """Examines the model at ``path`` and returns its facts, or refuses it."""

    def __call__(self, path: Path, *, where: str) -> ModelFacts:
        """Return the facts; ``where`` names the model in errors."""


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
        trial_load: Has an engine load the model at a path, or raises; a process of
            its own that is gone afterwards.
        examine: Examines a model.
    """

    database: Engine
    staging: Path
    store: Store
    clock: Clock
    append_records: Callable[[Connection, Sequence[Draft]], object]
    check_policies: Callable[[tuple[tuple[str, bytes], ...]], object]
    trial_load: Callable[[Path], object]
    examine: Examine = examine_model


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Who is told how far an import is.

    ``on_step`` is called as each step begins, ``on_progress`` with the bytes
    dealt with so far and in total.
    """

    on_step: Callable[[Step], object] = lambda _step: None
    on_progress: Callable[[int, int], object] = lambda _done, _total: None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """What an import would do.

    Attributes:
        bundle: The verified bundle.
        active_generation: The generation this very bundle already is, if it is
            active; importing it then repairs what has to be and changes nothing
            else.
        damaged: Names of what an active bundle has lost: the stored bytes are
            missing, unreadable or no longer those admitted.
        updates_trust: It is active already, and the medium brings a newer root.
        withdrawn: What the channel offers now and would not offer afterwards.
        copy_bytes: What would be copied.
        held_bytes: What the store already has.
        free_bytes: Room on the store's file system.
    """

    bundle: VerifiedBundle
    active_generation: int | None
    damaged: tuple[str, ...]
    updates_trust: bool
    withdrawn: tuple[Artifact, ...]
    copy_bytes: int
    held_bytes: int
    free_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        bundle: The verified bundle.
        generation: The generation it is.
        already_active: It was active before; nothing anybody can see changed.
        repaired: Names of what was missing or had decayed in the store of an active
            bundle, and is whole again.
        trust_updated: It was active before, and brought a newer root that this host
            now trusts.
        withdrawn: What the channel offered before and does not offer any more.
        facts: Those of the models of a new generation, by name.
    """

    bundle: VerifiedBundle
    generation: int
    already_active: bool
    repaired: tuple[str, ...] = ()
    trust_updated: bool = False
    withdrawn: tuple[Artifact, ...] = ()
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
