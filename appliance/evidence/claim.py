"""A claim: one thing that the appliance does which a framework may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One thing that the appliance does.

    Attributes:
        says: What it does.
        events: The records that show it on this host.
        tests: The tests of this release that show it on any.
        not_covered: What a reader might expect of it and does not get.
    """

    says: str
    events: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    not_covered: str = ""
