"""What was measured is kept for a model and a kind of host, and replaced."""

import datetime as dt
from pathlib import Path

from appliance.db.session import create_database
from appliance.registry.calibrations import calibrations, keep_calibration
from bundleformat.digest import sha256_of

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
MODEL, OTHER = sha256_of(b"model"), sha256_of(b"other")


def test_what_was_measured_holds_for_one_model_on_one_kind_of_host(
    tmp_path: Path,
) -> None:
    database = create_database(tmp_path / "s.db")
    with database.begin() as connection:
        for sha256, host, measured in (
            (MODEL, "here", b"old"),
            (MODEL, "here", b"new"),
            (MODEL, "there", b"elsewhere"),
            (OTHER, "here", b"another"),
        ):
            keep_calibration(connection, sha256, host=host, measured=measured, now=NOW)
    with database.connect() as connection:
        assert calibrations(connection, host="here") == {
            MODEL: b"new",
            OTHER: b"another",
        }
        assert calibrations(connection, host="nowhere") == {}
    database.dispose()
