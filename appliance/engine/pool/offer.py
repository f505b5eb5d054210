"""A model that this host offers, as far as the pool has to know it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.planning.choices import Choice
from bundleformat.digest import Sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """The bytes of one model; two names of the same bytes are one offer.

    Attributes:
        sha256: Its identity.
        name: What callers ask for; one of the names.
        paths: Its file, or all parts of a split one, in order.
        pinned: It is loaded whenever it can be, and never unloaded for another.
        check: Awaited before every start of an engine; an ``Error`` it raises fails
            that start.
        choice: What was measured to be best for it on this host, or None.
    """

    sha256: Sha256
    name: str
    paths: tuple[Path, ...]
    pinned: bool
    check: Callable[[], Awaitable[None]]
    choice: Choice | None = None
