"""Asking a second person for leave, and checking the leave that comes back.

What is to be done, with what, why and by whom goes to a file, and that it was asked
is on record before the file is there. A compliance key that this host trusts signs
the whole of it elsewhere. An approval is taken

1. for this ledger, whose history still is the one that the officer was told of;
2. for this act, these values, this reason and this account;
3. from when it was signed until the ask expires;
4. once: the record of the act names the ask, in the transaction that looked for it.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from appliance.account import account_fields, account_text
from appliance.audit_media.new_file import check_absent, write_new_file
from appliance.clock import rfc3339
from appliance.errors import UnsuitableApprovalError, UsedApprovalError
from appliance.host import OpenHost
from appliance.intake import trust_state
from appliance.ledger.log.approvals import find_use
from appliance.ledger.log.head import read_checkpoint, read_verified_head
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft
from appliance.ledger.records.fields import JSON
from appliance.ledger.watch.clock_watch import TOLERANCE_S
from bundleformat.approval import Act, Approval, Ask, encode_ask, parse
from bundleformat.errors import ExpiredError, MalformedError, UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import whole_second

_AGAIN = "Ask anew: the same command with --ask FILE."


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to be done: the act, with what, and why in the asker's words."""

    act: Act
    values: Mapping[str, str]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave:
    """An approval that a trusted key signed, and what is left to be checked of it."""

    approval: Approval
    key_ids: tuple[str, ...]
    sha256: str

    @property
    def ask(self) -> Ask:
        """What was asked."""
        return self.approval.ask

    def field(self) -> JSON:
        """Return what the record of the act says of it."""
        return {
            "ask": self.ask.nonce,
            "approval_sha256": self.sha256,
            "key_ids": self.key_ids,
            "approved": rfc3339(self.approval.issued),
        }


def write_ask(
    host: OpenHost,
    wish: Wish,
    out: Path,
    *,
    facts: Mapping[str, str],
    life: dt.timedelta,
    team: str | None = None,
    request_id: str | None = None,
) -> Ask:
    """Record that leave is asked for, then write what is asked to ``out``.

    Args:
        host: Where it is to be done.
        wish: What.
        out: A file that is not there yet.
        facts: What the officer is told beside it.
        life: How long an approval is of use.
        team: Whose request it is about, for the record.
        request_id: Which request it is about, for the record.

    Raises:
        UsageError: The values do not fit into an ask.
        ConflictError: Something is at ``out``; if it was there before, nothing was
            recorded.
        AuditUnavailableError: The ledger cannot write.
        StorageFaultError: The disk refused.
    """
    check_absent(out)
    now = whole_second(host.clock.now())
    with host.change() as connection:
        head = read_verified_head(connection, log=host.log)
        ask = Ask(
            nonce=secrets.token_hex(16),
            log=host.log.origin,
            size=str(head.size),
            root=head.root().hex(),
            act=wish.act,
            values=wish.values,
            facts=facts,
            reason=wish.reason,
            asked_by=account_text(),
            asked=now,
            expires=now + life,
        )
        data = _encoded(ask)
        draft = Draft(
            event=Event.APPROVAL_ASKED,
            outcome=Outcome.OK,
            team=team,
            request_id=request_id,
            fields={
                "act": str(ask.act),
                "ask": ask.nonce,
                "ask_sha256": hashlib.sha256(data).hexdigest(),
                "reason": ask.reason,
                "expires": rfc3339(ask.expires),
                **account_fields(),
            },
        )
        host.record(connection, [draft], now=host.clock.now())
    write_new_file(out, data)
    return ask


def read_leave(host: OpenHost, envelope: bytes) -> Leave:
    """Return the approval in an envelope that a compliance key of this host signed.

    Raises:
        SignatureError: None of them did.
        MalformedError, LimitExceededError: It is no approval.
    """
    with host.look() as connection:
        keys = trust_state.all_compliance_keys(connection)
    approval, key_ids = parse(envelope, keys=keys, limits=DEFAULT_LIMITS)
    digest = hashlib.sha256(envelope).hexdigest()
    return Leave(approval=approval, key_ids=key_ids, sha256=digest)


def check_leave(
    connection: Connection, host: OpenHost, leave: Leave, wish: Wish
) -> None:
    """Check that an approval allows what is to be done now.

    ``connection`` MUST be in the transaction that then records the act.

    Raises:
        UnsuitableApprovalError: It allows something else, or is not in force yet.
        ExpiredError: It is of no use any more.
        UsedApprovalError: The act was done by it.
    """
    ask, now = leave.ask, host.clock.now()
    # 1. this ledger, and the history that the officer was told of
    _check_same("log", ask.log, host.log.origin)
    head = read_checkpoint(connection, size=int(ask.size))
    _check_same("root", ask.root, "no such head" if head is None else head[0].hex())
    # 2. this act
    _check_same("act", str(ask.act), str(wish.act))
    for name in sorted({*ask.values, *wish.values}):
        _check_same(name, ask.values.get(name, ""), wish.values.get(name, ""))
    _check_same("reason", ask.reason, wish.reason)
    _check_same("asked_by", ask.asked_by, account_text())
    # 3. now
    if now + dt.timedelta(seconds=TOLERANCE_S) < leave.approval.issued:
        raise UnsuitableApprovalError(
            "this host's clock is behind the signature of the approval",
            where="issued",
            expected=f"{rfc3339(leave.approval.issued)} or later",
            actual=rfc3339(now),
            hint="Set this host's clock right.",
        )
    if now >= ask.expires:
        raise ExpiredError(
            "the approval is of no use any more",
            where="expires",
            expected=f"a time before {rfc3339(ask.expires)}",
            actual=rfc3339(now),
            hint=_AGAIN,
        )
    # 4. once
    used = find_use(connection, event=str(ask.act), ask=ask.nonce)
    if used is not None:
        raise UsedApprovalError(
            "this approval was used", where="ask", actual=f"record {used}", hint=_AGAIN
        )


def _check_same(name: str, approved: str, wished: str) -> None:
    if approved != wished:
        raise UnsuitableApprovalError(
            "the approval is for something else",
            where=name,
            expected=wished or "nothing",
            actual=approved or "nothing",
            hint=_AGAIN,
        )


def _encoded(ask: Ask) -> bytes:
    try:
        return encode_ask(ask)
    except MalformedError as error:
        raise UsageError(
            "not what an approval can be asked for",
            where=error.where,
            expected=error.expected,
        ) from error
