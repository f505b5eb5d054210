"""How long a site keeps records and texts, as its certificate is to say it."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from bundleformat.errors import UsageError
from bundleformat.retention import MAX_DAYS, PRESETS, Kept, Retention, period

Presets = Annotated[
    list[str] | None,
    typer.Option(
        "--retention",
        metavar="<preset>",
        help=f"Whose periods are kept to: {', '.join(PRESETS)}; repeatable. Without "
        "it nothing is ever pruned there.",
        show_default=False,
    ),
]
RecordsDays = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_DAYS,
        help="Days to keep records of calls even where the presets ask for fewer.",
    ),
]
BodiesDays = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_DAYS,
        help="Days to keep prompts and answers, of which most presets say nothing.",
    ),
]

_NAMES: Final = {Kept.RECORD: "records", Kept.BODY: "bodies"}


def parse_retention(
    presets: Sequence[str], *, records_days: int, bodies_days: int
) -> Retention | None:
    """Return what a certificate is to say, or None if it is to say nothing.

    Raises:
        UsageError: A preset is unknown, days are named without any, or two of what is
            named cannot both be kept to.
    """
    if not presets:
        if records_days or bodies_days:
            raise UsageError(
                "days are kept on top of a preset",
                where="--retention",
                expected=", ".join(PRESETS),
                hint="Name the law or standard that the site is under.",
            )
        return None
    for name in presets:
        if name not in PRESETS:
            raise UsageError(
                "no such preset",
                where="--retention",
                expected=", ".join(PRESETS),
                actual=ascii(name),
            )
    retention = Retention(
        presets=tuple(sorted(set(presets))),
        records_days=records_days,
        bodies_days=bodies_days,
    )
    for kept in Kept:
        for conflict in period(retention, kept).conflicts:
            raise UsageError(
                f"the presets contradict each other: {conflict}",
                where="--retention",
                hint="Decide which of them counts here, and name that one.",
            )
    return retention


def retention_line(retention: Retention | None, kept: Kept) -> str:
    """Return what the officer is told about one kind of thing."""
    found = period(retention, kept)
    if found.days is None:
        return f"{_NAMES[kept]} are kept for ever"
    return f"{_NAMES[kept]} are kept for {found.days} days ({found.because[0]})"
