import datetime as dt

import pytest

from appliance.identity.lifetime import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    check_lifetime,
    parse_duration,
)
from bundleformat.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", dt.timedelta(days=90)),
        ("12h", dt.timedelta(hours=12)),
        ("30m", dt.timedelta(minutes=30)),
        ("1s", dt.timedelta(seconds=1)),
        ("999999d", dt.timedelta(days=999_999)),
    ],
)
def test_duration_is_read(text: str, expected: dt.timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "0d", "-1d", "1.5d", "90D", "1y", "1d ", "٣d", "1000000d", "1d1h"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert caught.value.exit_status == 2


def test_lifetime_is_finite_and_at_most_a_year() -> None:
    check_lifetime(DEFAULT_LIFETIME)
    check_lifetime(MAX_LIFETIME)
    for lifetime in (
        dt.timedelta(0),
        dt.timedelta(days=-1),
        MAX_LIFETIME + dt.timedelta(seconds=1),
    ):
        with pytest.raises(UsageError):
            check_lifetime(lifetime)
