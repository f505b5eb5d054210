"""Whom this host trusts, and what that says of the metadata on a medium."""

import datetime as dt
from pathlib import Path

from appliance.db.session import database_faults, reader
from appliance.import_steps.host import ImportHost
from appliance.intake import trust_state
from appliance.intake.trust_state import ChannelTrust
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.medium import Medium
from bundleformat.verify import (
    VerifiedBundle,
    verify_metadata,
    verify_metadata_accepting_expired,
)


def load_trust(host: ImportHost, channel: str | None) -> ChannelTrust:
    """Return the trust in ``channel``, or in the only channel there is.

    Raises:
        MissingError: That channel, or any, was never given a trust root.
        UsageError: There are several and none was named.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        chosen = trust_state.choose_channel(connection, channel)
        return trust_state.load(connection, chosen)


def verify(
    host: ImportHost,
    medium: Medium,
    *,
    trust: ChannelTrust,
    scratch: Path,
    any_age: bool = False,
) -> VerifiedBundle:
    """Return the bundle on ``medium``, its metadata verified; changes nothing.

    A bundle that has expired is refused, unless the site's settings give it some
    days of grace, or ``any_age`` says that a person decided about this one. The
    caller MUST then record that it was accepted.

    Raises:
        RefusalError: The metadata is not acceptable.
        StorageFaultError: The medium or the scratch folder cannot be used.
    """
    settings = host.settings
    now = host.clock.now()
    if not any_age and settings.expiry == "enforce":
        return verify_metadata(
            medium,
            state=trust.state,
            floor=trust.floor,
            now=now,
            scratch=scratch,
            limits=DEFAULT_LIMITS,
        )
    return verify_metadata_accepting_expired(
        medium,
        state=trust.state,
        floor=trust.floor,
        now=now,
        scratch=scratch,
        limits=DEFAULT_LIMITS,
        grace=None if any_age else dt.timedelta(days=settings.grace_days),
    )
