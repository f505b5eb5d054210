"""Lets a halted ledger go on, by leave of the security officer.

1. There is a halt, and the release is signed by a compliance key this host trusts.
2. It is for this ledger and this halt, and the host's clock has come to its time.
3. What halted the ledger is over, as far as it can be: triggers are as they were
   made, there is room to keep back again, and the head is sound.
4. In one transaction: the halt itself, if it could not be recorded, and the record of
   the release, which ends it.

A server that is running notices within a second.
"""

import datetime as dt
from dataclasses import dataclass

from appliance.account import account_fields
from appliance.clock import rfc3339
from appliance.db.session import database_faults
from appliance.errors import UnsuitableReleaseError
from appliance.host import OpenHost
from appliance.intake import trust_state
from appliance.ledger.log.halt import Halt, find_halt
from appliance.ledger.watch.clock_watch import TOLERANCE_S
from bundleformat.errors import ConflictError
from bundleformat.ledger_release import LedgerRelease, parse
from bundleformat.limits import DEFAULT_LIMITS

_ASK = "Ask for a release with the values that `sallyport audit status` shows."


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """Which halt is over, and who let the host go on."""

    release: LedgerRelease
    key_ids: tuple[str, ...]


def release_ledger(host: OpenHost, envelope: bytes) -> Released:
    """End the halt of the ledger; afterwards records are appended again.

    Raises:
        ConflictError: The ledger is not halted.
        SignatureError: No compliance key that this host trusts signed the release.
        MalformedError, LimitExceededError: It is no release.
        UnsuitableReleaseError: It is for another halt or another ledger, or the
            host's clock is behind it.
        AuditUnavailableError: What halted the ledger is not over.
        StorageFaultError: There is still no room, or the disk refused; the ledger
            stays halted.
    """
    # 1. There is a halt, and the release is signed.
    with host.look() as connection:
        halt = find_halt(connection)
        if halt is None:
            raise ConflictError("the ledger is not halted", where="ledger")
        keys = trust_state.all_compliance_keys(connection)
    release, key_ids = parse(envelope, keys=keys, limits=DEFAULT_LIMITS)
    # 2. It is for this halt.
    _check_fits(release, halt, log=host.log.origin)
    now = host.clock.now()
    _check_time(release, now)
    # 3. and 4. What halted it is over; then it may go on.
    with database_faults(host.database):
        host.guard.release(
            release,
            envelope=envelope,
            key_ids=key_ids,
            now=now,
            account=account_fields(),
        )
    return Released(release=release, key_ids=key_ids)


def _check_fits(release: LedgerRelease, halt: Halt, *, log: str) -> None:
    for name, said, found in (
        ("log", release.log, log),
        ("halt", str(release.halt), str(halt.number)),
        ("cause", str(release.cause), str(halt.cause)),
        ("halted", release.halted, halt.halted),
    ):
        if said != found:
            raise UnsuitableReleaseError(
                "the release is for another halt",
                where=name,
                expected=found,
                actual=said,
                hint=_ASK,
            )


def _check_time(release: LedgerRelease, now: dt.datetime) -> None:
    if now + dt.timedelta(seconds=TOLERANCE_S) < release.issued:
        raise UnsuitableReleaseError(
            "this host's clock is behind the signature of the release",
            where="issued",
            expected=f"{rfc3339(release.issued)} or later",
            actual=rfc3339(now),
            hint="Set this host's clock right.",
        )
