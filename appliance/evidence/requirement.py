"""A framework as far as it concerns a log: what it asks, and which claims answer.

The words are ours and short; the framework's own text is what counts, and whether a
site complies is for people to say. A requirement that nothing answers stands here too.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One thing that a framework asks for.

    Attributes:
        control: Its number there.
        asks: What it asks for, in our words.
        claims: The claims that answer it, by name.
        left: What this release leaves to the site, or does not do.
    """

    control: str
    asks: str
    claims: tuple[str, ...] = ()
    left: str = ""

    @property
    def answered(self) -> str:
        """Whether the claims answer it: ``yes``, ``in part`` or ``no``."""
        if not self.claims:
            return "no"
        return "in part" if self.left else "yes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Framework:
    """A framework as far as it concerns a log."""

    title: str
    requirements: tuple[Requirement, ...]


RETENTION: Final = "Which presets the certificate names, and backups, are the site's."
"""What is left of every requirement on how long."""


GUARDED: Final = (
    "A change is noticed, not prevented: who may use the host's account is the site's."
)
"""What is left of every requirement that records be protected."""


def asks(control: str, text: str, *claims: str, left: str = "") -> Requirement:
    """Return a requirement and the claims that answer it."""
    return Requirement(control=control, asks=text, claims=claims, left=left)
