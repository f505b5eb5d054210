"""How long laws and standards have a log and its texts kept: data, and what follows.

A site names its presets in the certificate that a compliance key signs. Of several
minimums the longest holds. Where one text says "keep" for longer than another says
"erase after", neither is chosen here: the conflict is named, and nothing goes until a
certificate names presets that agree. Where no preset is named nothing ever goes.

A period in months or years is counted as the longest such period in days, so that it
is over in every calendar. Whether a text applies, and what it means, is for people to
say; the numbers are what this file claims that they ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SIX_MONTHS: Final = 184
"""Days of the longest six months, July to December."""

ONE_YEAR: Final = 366
"""Days of the longest year."""

SIX_YEARS: Final = 2_192
"""Days of the longest six years, two leap years among them."""

MAX_DAYS: Final = 36_600
"""Longest period that can be named: a hundred years. Unit: days."""


class Kept(StrEnum):
    """What is kept for a time: records of calls, or the texts of calls."""

    RECORD = "record"
    BODY = "body"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One period that a text asks for.

    Attributes:
        kept: Of what.
        days: How long.
        source: Where it stands.
        asks: What it asks for, in our words.
        erase: Whether it is an end rather than a minimum.
    """

    kept: Kept
    days: int
    source: str
    asks: str
    erase: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """What one law or standard asks for."""

    title: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """What a site certificate says of how long things are kept.

    Attributes:
        presets: Names of presets, sorted, each once.
        records_days: Days for which records are kept even where presets ask for
            fewer; 0 adds nothing.
        bodies_days: The same for texts, of which most presets say nothing.
    """

    presets: tuple[str, ...]
    records_days: int = 0
    bodies_days: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """How long one kind of thing is kept, and why.

    Attributes:
        kept: Of what.
        days: How long; None is for ever.
        because: What asks for that, and what asks for less.
        conflicts: What cannot both be kept to; nothing goes while there are any.
    """

    kept: Kept
    days: int | None
    because: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def _kept(kept: Kept, days: int, source: str, asks: str) -> Rule:
    return Rule(kept=kept, days=days, source=source, asks=asks)


def _erased(kept: Kept, days: int, source: str, asks: str) -> Rule:
    return Rule(kept=kept, days=days, source=source, asks=asks, erase=True)


_DPDP_8_3: Final = "DPDP Rules 2025, rule 8(3)"

PRESETS: Final[Mapping[str, Preset]] = {
    "eu-ai-act": Preset(
        title="Regulation (EU) 2024/1689",
        rules=(
            _kept(
                Kept.RECORD,
                SIX_MONTHS,
                "Regulation (EU) 2024/1689, Art. 19(1) and 26(6)",
                "providers and deployers keep automatic logs for six months or more",
            ),
        ),
    ),
    "hipaa": Preset(
        title="45 CFR part 164, subpart C",
        rules=(
            _kept(
                Kept.RECORD,
                SIX_YEARS,
                "45 CFR 164.316(b)(2)(i)",
                "documentation is kept for six years; commonly applied to logs",
            ),
        ),
    ),
    "pci": Preset(
        title="PCI DSS 4.0.1",
        rules=(
            _kept(
                Kept.RECORD,
                ONE_YEAR,
                "PCI DSS 4.0.1, 10.5.1",
                "audit logs are kept for twelve months, three of them at hand",
            ),
        ),
    ),
    "dpdp": Preset(
        title="India, Digital Personal Data Protection Rules 2025",
        rules=(
            _kept(
                Kept.RECORD,
                ONE_YEAR,
                "DPDP Rules 2025, rules 6(1)(e) and 8(3)",
                "logs of processing are kept for a year",
            ),
            _erased(
                Kept.RECORD,
                ONE_YEAR,
                _DPDP_8_3,
                "logs are erased after that year, unless another law has them kept",
            ),
            _kept(
                Kept.BODY,
                ONE_YEAR,
                _DPDP_8_3,
                "personal data is kept for a year from its processing",
            ),
            _erased(
                Kept.BODY,
                ONE_YEAR,
                _DPDP_8_3,
                "personal data is erased after that year, unless another law has it "
                "kept",
            ),
        ),
    ),
    "ism": Preset(
        title="Australian Information Security Manual",
        rules=(
            _kept(
                Kept.RECORD,
                ONE_YEAR,
                "ISM-1988",
                "event logs stay searchable for twelve months",
            ),
        ),
    ),
}
"""Every preset by its name."""


def period(retention: Retention | None, kept: Kept) -> Period:
    """Return how long ``kept`` is kept where a certificate says this of it.

    Where a certificate says nothing, or names presets that say nothing of this kind
    and no days of its own, that is for ever.
    """
    if retention is None or not retention.presets:
        return Period(kept=kept, days=None)
    unknown = [name for name in retention.presets if name not in PRESETS]
    if unknown:
        problem = f"this release knows no preset {', '.join(unknown)}"
        return Period(kept=kept, days=None, conflicts=(problem,))
    found = [
        (rule.erase, rule.days, f"{name}: {rule.source}")
        for name in retention.presets
        for rule in PRESETS[name].rules
        if rule.kept is kept
    ]
    own = retention.records_days if kept is Kept.RECORD else retention.bodies_days
    if own:
        found.append((False, own, "the site certificate"))
    longest_first = sorted(found, key=lambda each: (-each[1], each[2]))
    least = [(days, source) for erase, days, source in longest_first if not erase]
    ends = [(days, source) for erase, days, source in longest_first if erase]
    return Period(
        kept=kept,
        days=least[0][0] if least else None,
        because=tuple(f"{source}: {days} days" for days, source in least),
        conflicts=tuple(
            f"{source} has what is older than {end} days erased, and {other} has it "
            f"kept for {longer}"
            for end, source in ends
            for longer, other in least
            if longer > end
        ),
    )
