"""How long an API key lives: always a finite time, always said."""

import datetime as dt
import re

from bundleformat.errors import UsageError

DEFAULT_LIFETIME = dt.timedelta(days=90)
"""How long a key lives if nobody says otherwise."""

MAX_LIFETIME = dt.timedelta(days=365)
"""The longest a key may live; a longer need is met by rotation."""

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> dt.timedelta:
    """Return a duration written as a whole number and ``s``, ``m``, ``h`` or ``d``.

    Raises:
        UsageError: It is written otherwise.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(
            "not a duration",
            expected="a whole number and a unit, such as 90d, 12h or 30m",
            actual=repr(text[:32]),
        )
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def check_lifetime(lifetime: dt.timedelta) -> None:
    """Raise ``UsageError`` unless a key may live that long."""
    if not dt.timedelta(0) < lifetime <= MAX_LIFETIME:
        raise UsageError(
            "a key cannot live that long",
            expected=f"more than 0 and at most {MAX_LIFETIME.days} days",
            actual=f"{lifetime.days} days",
        )
