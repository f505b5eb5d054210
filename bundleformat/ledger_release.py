"""The release of a halted ledger: the security officer lets a host go on.

A statement as ``statement`` has it, by a compliance key. It names one halt of one
ledger, so that it is of no use for another. When it was signed is in it: a host whose
clock has not come that far is not to go on.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from securesystemslib.signer import Signer

from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.statement import Statement
from bundleformat.trust import ComplianceKeys

PAYLOAD_TYPE = "application/vnd.sallyport.ledger-release+json"
"""What the signature says the payload is. A signature for another type is void."""

FORMAT = 1
"""The version of the payload's format."""

MAX_HALT = 2**31 - 1
"""Highest number of a halt."""

ORIGIN = re.compile(r"[!-*,-~]{1,200}")
"""The name of a ledger: printable ASCII without spaces and plus signs."""

HALTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
"""When a ledger halted, as its host had it, to the microsecond."""


class Cause(StrEnum):
    """Why a ledger halts; the names are stable."""

    IO_ERROR = "io-error"
    DISK_FULL = "disk-full"
    CLOCK_BACK = "clock-back"
    ROLLED_BACK = "rolled-back"
    CHANGED_TRIGGERS = "changed-triggers"
    NOT_CONTINUING = "not-continuing"


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRelease:
    """That one halt of one ledger is over, by whose leave and why.

    Attributes:
        log: The ledger's origin.
        halt: The halt's number, from 1.
        cause: Its cause.
        halted: When it began, as ``sallyport audit status`` tells.
        reason: Why the host may go on, in the officer's words, on one line.
        issued: When this was signed, UTC, whole seconds.
    """

    log: str
    halt: int
    cause: Cause
    halted: str
    reason: str
    issued: dt.datetime


_STATEMENT: Final = Statement(
    name="ledger release",
    payload_type=PAYLOAD_TYPE,
    hint="Ask the security officer for one that a compliance key of this channel's "
    "root signed.",
)
_FIELDS = {"cause", "format", "halt", "halted", "issued", "log", "reason"}


def issue(release: LedgerRelease, *signers: Signer) -> bytes:
    """Return the release as a signed envelope.

    ``signers`` are all keys of one holder: two in a hybrid channel.

    Raises:
        KeyFileError, UsageError: A token does not sign.
        MalformedError: A field is not one that ``parse`` would accept.
    """
    _check(release)
    payload = {
        "cause": str(release.cause),
        "format": FORMAT,
        "halt": release.halt,
        "halted": release.halted,
        "issued": format_moment(release.issued),
        "log": release.log,
        "reason": release.reason,
    }
    return _STATEMENT.sign(payload, signers)


def parse(
    envelope: bytes, *, keys: Sequence[ComplianceKeys], limits: Limits
) -> tuple[LedgerRelease, tuple[str, ...]]:
    """Return the release in an envelope, and the ids of the keys that signed it.

    The caller MUST compare it with the halt that is to end, and its time with the
    host's clock.

    Raises:
        LimitExceededError: Larger than a release can be.
        MalformedError: The envelope or, once verified, its payload is not one.
        SignatureError: No channel's keys signed these bytes as this type.
    """
    payload, signed_by = _STATEMENT.open(envelope, keys=keys, limits=limits)
    release = _read_payload(payload)
    _check(release)
    return release, signed_by


def _read_payload(value: Any) -> LedgerRelease:  # noqa: ANN401 - JSON
    fields = _STATEMENT.fields(value, _FIELDS, "payload")
    _STATEMENT.check_format(fields["format"], "payload.format", expected=FORMAT)
    if type(fields["halt"]) is not int:
        raise _STATEMENT.malformed("payload.halt", "a number")
    text = {
        name: _STATEMENT.text(fields[name], f"payload.{name}")
        for name in ("cause", "halted", "issued", "log", "reason")
    }
    if text["cause"] not in list(Cause):
        raise _STATEMENT.malformed("payload.cause", f"one of {', '.join(Cause)}")
    return LedgerRelease(
        log=text["log"],
        halt=fields["halt"],
        cause=Cause(text["cause"]),
        halted=text["halted"],
        reason=text["reason"],
        issued=parse_moment(text["issued"], where=f"{_STATEMENT.name}: payload.issued"),
    )


def _check(release: LedgerRelease) -> None:
    if not ORIGIN.fullmatch(release.log):
        raise _STATEMENT.malformed("payload.log", "the origin of a ledger")
    if not 1 <= release.halt <= MAX_HALT:
        raise _STATEMENT.malformed("payload.halt", f"a number from 1 to {MAX_HALT}")
    if not HALTED.fullmatch(release.halted):
        raise _STATEMENT.malformed(
            "payload.halted", "the time of the halt, with six digits of a second"
        )
    _STATEMENT.check_reason(release.reason, "payload.reason")
