"""What a decision is taken on: plain values, gathered by the caller.

Nothing here is looked up; ``request_flow`` fills these in from the key, the
headers, the catalogue and the site certificate, and ``decide`` turns them into
Cedar's terms. Times MUST carry their zone.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

ClassSource = Literal["team", "header"]
"""Where a request's data class came from; nothing else sets it."""

CHAT = "chat"
"""The action of a chat completion, as the schema names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteFacts:
    """Where this host is, from a site certificate whose signature was checked.

    Its dates are not checked yet: the core policies do that on each request.
    """

    site: str
    region: str
    jurisdictions: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What the signed manifest says of the model that was asked for."""

    name: str
    sha256: str
    origin: str
    licence: str
    allowed_regions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What a request is about, after a header could only have narrowed it.

    Attributes:
        data_class: The most restrictive class that applies; what records show.
        class_source: Whose it is: the team's default, or the caller's header where
            that is more restrictive.
        data_classes: Every class that applies: the team's own, and each one
            the caller added that is no less restrictive.
        regions: Every region the caller named; empty if none was named.
    """

    data_class: str
    class_source: ClassSource
    data_classes: tuple[str, ...]
    regions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """All that ``decide`` knows of one request.

    Attributes:
        clearance: The class up to which the team is cleared.
        key_expires: From when on the key is no longer valid.
        site: The site certificate's statement, or None if none is installed.
    """

    key_id: str
    key_expires: dt.datetime
    team: str
    clearance: str
    labels: Labels
    model: ModelFacts
    site: SiteFacts | None
    now: dt.datetime
    action: str = CHAT
