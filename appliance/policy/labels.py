"""What a request is about: the team's default, narrowed by its headers.

A header may only narrow. One that would widen is ignored; one that cannot be
understood counts as the most restrictive class, or as a region that no host is
in. What a caller wrote is never repeated unless it has the shape of a token.
"""

from collections.abc import Iterable

from appliance.policy.classes import TOKEN, Classes, DataClass
from appliance.policy.facts import Labels

UNKNOWN_REGION = "(unknown)"
"""Stands for a region label that is not one. No token, so no site is there."""

MAX_HEADER_VALUES = 8
"""Most values of one header that are read. Above, the label is unknown."""


def effective_labels(
    classes: Classes,
    *,
    default_class: str,
    class_headers: tuple[str, ...] = (),
    region_headers: tuple[str, ...] = (),
) -> Labels:
    """Return the labels of a request; never less restrictive than the default.

    Args:
        classes: The site's table of data classes.
        default_class: The class of the team's requests that carry no label.
        class_headers: Each ``X-Data-Class`` value, as received.
        region_headers: Each ``X-Data-Region`` value, as received.
    """
    default = classes.label(default_class)
    added = _asked_classes(classes, class_headers)
    kept = sorted(
        {default, *(row for row in added if row.level >= default.level)},
        key=lambda row: (row.level, row.name),
    )
    strictest = max((default, *kept), key=lambda row: row.level)
    return Labels(
        data_class=strictest.name,
        class_source="team" if strictest == default else "header",
        data_classes=tuple(row.name for row in kept),
        regions=_asked_regions(region_headers),
    )


def _asked_classes(classes: Classes, values: tuple[str, ...]) -> Iterable[DataClass]:
    if len(values) > MAX_HEADER_VALUES:
        return (classes.most_restrictive,)
    # An empty name is in no table, so a malformed value is an unknown class.
    return [classes.label(_token(value) or "") for value in values]


def _asked_regions(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MAX_HEADER_VALUES:
        return (UNKNOWN_REGION,)
    return tuple(sorted({_token(value) or UNKNOWN_REGION for value in values}))


def _token(value: str) -> str | None:
    """Return ``value`` in lower case if it is a token, else None."""
    # Only ASCII is folded: the Kelvin sign lowers to a plain "k".
    if not value.isascii():
        return None
    folded = value.strip(" \t").lower()
    return folded if TOKEN.fullmatch(folded) else None
