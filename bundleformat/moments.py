"""Points in time as the format writes them: UTC, whole seconds, one spelling."""

import datetime as dt
import re

from bundleformat.errors import MalformedError

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


def parse_moment(text: str, *, where: str) -> dt.datetime:
    """Return ``text``, such as ``2026-11-22T08:04:29Z``, as a time in UTC.

    Raises:
        MalformedError: Another spelling, or no such time.
    """
    if _MOMENT.fullmatch(text):
        try:
            return dt.datetime.fromisoformat(text)
        except ValueError:
            pass
    raise MalformedError(
        "not a time", where=where, expected="YYYY-MM-DDTHH:MM:SSZ", actual=ascii(text)
    )


def format_moment(moment: dt.datetime) -> str:
    """Return ``moment`` as ``2026-11-22T08:04:29Z``.

    Raises:
        MalformedError: ``moment`` has no time zone, or parts of a second.
    """
    if moment.tzinfo is None or moment.microsecond:
        raise MalformedError(
            "not a whole second in a time zone", actual=moment.isoformat()
        )
    utc = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"


def whole_second(moment: dt.datetime) -> dt.datetime:
    """Return ``moment`` in UTC without the parts of its second."""
    return moment.astimezone(dt.UTC).replace(microsecond=0)
