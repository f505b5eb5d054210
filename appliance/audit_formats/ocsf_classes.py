"""Which OCSF class each event of the ledger belongs to, and as which activity.

An event that is not listed goes by its subject, and one of an unknown subject is a
base event: a newer record is never lost for want of a line here.
Source: OCSF 1.8.0, categories and classes; captions and numbers are its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

OTHER: Final = 99
"""The activity that a class has no number for; its name says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OcsfClass:
    """A class of events, with the category it is of."""

    uid: int
    name: str
    category_uid: int
    category_name: str


API_ACTIVITY = OcsfClass(
    uid=6003,
    name="API Activity",
    category_uid=6,
    category_name="Application Activity",
)
LIFECYCLE = OcsfClass(
    uid=6002,
    name="Application Lifecycle",
    category_uid=6,
    category_name="Application Activity",
)
APPLICATION_ERROR = OcsfClass(
    uid=6008,
    name="Application Error",
    category_uid=6,
    category_name="Application Activity",
)
ACCOUNT_CHANGE = OcsfClass(
    uid=3001,
    name="Account Change",
    category_uid=3,
    category_name="Identity & Access Management",
)
ENTITY_MANAGEMENT = OcsfClass(
    uid=3004,
    name="Entity Management",
    category_uid=3,
    category_name="Identity & Access Management",
)
LOG_ACTIVITY = OcsfClass(
    uid=1008,
    name="Event Log Activity",
    category_uid=1,
    category_name="System Activity",
)
BASE_EVENT = OcsfClass(
    uid=0, name="Base Event", category_uid=0, category_name="Uncategorized"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """An event as OCSF has it.

    Attributes:
        of: Its class.
        activity_id: The class's number for what happened.
        activity_name: The caption of that number, or words of our own for OTHER.
        entity: What kind of thing it happened to, where the class asks for that.
    """

    of: OcsfClass
    activity_id: int
    activity_name: str
    entity: str = ""


def _of(of: OcsfClass, activity_id: int, name: str, entity: str = "") -> Mapped:
    return Mapped(of=of, activity_id=activity_id, activity_name=name, entity=entity)


def _entity(activity_id: int, name: str, entity: str) -> Mapped:
    return _of(ENTITY_MANAGEMENT, activity_id, name, entity)


INFERENCE = _of(API_ACTIVITY, OTHER, "Inference")

EVENTS: Final[Mapping[str, Mapped]] = {
    "llm.request": INFERENCE,
    "llm.response": INFERENCE,
    "llm.refused": INFERENCE,
    "llm.aborted": INFERENCE,
    "apikey.created": _of(ACCOUNT_CHANGE, 1, "Create", "API key"),
    "apikey.revoked": _of(ACCOUNT_CHANGE, 5, "Disable", "API key"),
    "team.created": _entity(1, "Create", "Team"),
    "team.changed": _entity(3, "Update", "Team"),
    "trust.initialised": _entity(1, "Create", "Trust root"),
    "trust.updated": _entity(3, "Update", "Trust root"),
    "site.cert_installed": _entity(3, "Update", "Site certificate"),
    "bundle.imported": _entity(6, "Enroll", "Bundle"),
    "bundle.refused": _entity(6, "Enroll", "Bundle"),
    "bundle.repaired": _entity(3, "Update", "Bundle"),
    "generation.activated": _entity(10, "Activate", "Generation"),
    "model.removed": _entity(9, "Disable", "Model"),
    "model.restored": _entity(8, "Enable", "Model"),
    "model.changed": _entity(3, "Update", "Model"),
    "model.taken_out": _entity(12, "Suspend", "Model"),
    "model.put_back": _entity(13, "Resume", "Model"),
    "store.collected": _entity(4, "Delete", "Store"),
    "store.repaired": _entity(3, "Update", "Store"),
    "server.started": _of(LIFECYCLE, 3, "Start"),
    "server.stopped": _of(LIFECYCLE, 4, "Stop"),
    "engine.crashed": _of(APPLICATION_ERROR, 1, "General Error"),
    "log.created": _of(LOG_ACTIVITY, 6, "Start"),
    "log.exported": _of(LOG_ACTIVITY, 3, "Export"),
    "log.pruned": _of(LOG_ACTIVITY, 2, "Delete"),
    "log.halted": _of(LOG_ACTIVITY, 7, "Stop"),
    "log.released": _of(LOG_ACTIVITY, 9, "Enable"),
    "log.resumed": _of(LOG_ACTIVITY, 8, "Restart"),
    "approval.asked": _entity(OTHER, "Ask", "Approval"),
    "body.read": _entity(2, "Read", "Body"),
    "body.erased": _entity(4, "Delete", "Body"),
    "body.refused": _entity(OTHER, "Refuse", "Body"),
    "receipts.exported": _of(LOG_ACTIVITY, 3, "Export"),
}
"""Every event that has a number of its own in OCSF."""

SUBJECTS: Final[Mapping[str, tuple[OcsfClass, str]]] = {
    "llm": (API_ACTIVITY, ""),
    "apikey": (ACCOUNT_CHANGE, "API key"),
    "team": (ENTITY_MANAGEMENT, "Team"),
    "trust": (ENTITY_MANAGEMENT, "Trust root"),
    "site": (ENTITY_MANAGEMENT, "Site certificate"),
    "bundle": (ENTITY_MANAGEMENT, "Bundle"),
    "generation": (ENTITY_MANAGEMENT, "Generation"),
    "model": (ENTITY_MANAGEMENT, "Model"),
    "store": (ENTITY_MANAGEMENT, "Store"),
    "key": (ENTITY_MANAGEMENT, "Ledger key"),
    "server": (LIFECYCLE, ""),
    "engine": (APPLICATION_ERROR, ""),
    "log": (LOG_ACTIVITY, ""),
    "hold": (LOG_ACTIVITY, ""),
    "clock": (APPLICATION_ERROR, ""),
    "siem": (LOG_ACTIVITY, ""),
    "receipts": (LOG_ACTIVITY, ""),
    "approval": (ENTITY_MANAGEMENT, "Approval"),
    "body": (ENTITY_MANAGEMENT, "Body"),
}
"""The class of the events of a subject that have no number of their own."""


def mapped(event: str) -> Mapped:
    """Return what OCSF calls ``event``."""
    known = EVENTS.get(event)
    if known is not None:
        return known
    subject, _, action = event.partition(".")
    of, entity = SUBJECTS.get(subject, (BASE_EVENT, ""))
    return _of(of, OTHER, action.replace("_", " ").capitalize() or "Other", entity)
