"""Erasing stored prompts and answers for good, by two people.

1. what an earlier call was killed over is carried out;
2. a second person's approval is for exactly this;
3. in one transaction: which requests it is about, as the ledger was when it was
   asked; none of them is still being answered; the approval was not used; and
   ``body.erased`` of each, which names it and its parts and nothing of what they said;
4. only when that is durable, keys and texts are destroyed.

Records, their proofs and every export stay as they are: they hold commitments alone,
whose salts are destroyed as well.
Source: Regulation (EU) 2016/679, article 17; DPDP Act 2023, section 12.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.approval_flow import Leave, Wish, check_leave, read_leave, write_ask
from appliance.audit_media.new_file import check_absent
from appliance.body_flow import carry_out, check_kept, opened_vault, refusals_on_record
from appliance.host import OpenHost
from appliance.ledger.log.captured import CapturedCall, read_captured
from appliance.ledger.log.head import read_head
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft
from appliance.ledger.retention.holds import check_not_held
from bundleformat.approval import Act, Ask
from bundleformat.errors import ConflictError, LimitExceededError, MissingError

MAX_REQUESTS = 10_000
"""Most requests whose bodies are erased by one approval: the server's records wait
for the transaction. Unit: requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Whose bodies: of these requests, of an API key, or of a team.

    Attributes:
        request_ids: These requests and no others.
        key_id: Every request that came with this API key.
        team: Every request of this team.
        before: Of a team's, only those accepted before; as records have times.
    """

    request_ids: tuple[str, ...] = ()
    key_id: str | None = None
    team: str | None = None
    before: str | None = None

    def values(self) -> dict[str, str]:
        """Return it as an approval names it."""
        named = {
            "requests": " ".join(self.request_ids) or None,
            "key": self.key_id,
            "team": self.team,
            "before": self.before,
        }
        return {name: text for name, text in named.items() if text is not None}

    def takes(self, call: CapturedCall) -> bool:
        """Return whether it is about this request, where it names no requests."""
        return (
            self.key_id in (None, call.key_id)
            and self.team in (None, call.team)
            and (self.before is None or call.ts < self.before)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What is gone: so many bodies, of these requests, which records name."""

    requests: tuple[str, ...]
    bodies: int
    first_seq: int
    last_seq: int


def ask_to_erase(
    host: OpenHost, chosen: Selection, out: Path, *, basis: str, life: dt.timedelta
) -> tuple[Ask, int]:
    """Write to ``out`` what a second person is asked to approve; it is on record.

    Returns the ask, and how many requests it is about.

    Raises:
        MissingError, BodyNotKeptError, BodyErasedError, BodyPrunedError: There is
            nothing to erase.
        ConflictError: A request is still being answered, or something is at ``out``.
        HeldError: A hold keeps one of them.
        LimitExceededError: Too many requests for one approval.
        UsageError, AuditUnavailableError, StorageFaultError: As ``write_ask``.
    """
    check_absent(out)
    only = chosen.request_ids[0] if len(chosen.request_ids) == 1 else None
    with refusals_on_record(host, Act.BODY_ERASED, only):
        carry_out(host)
        with host.look() as connection:
            calls = _calls(host, connection, chosen, size=read_head(connection).size)
        ask = write_ask(
            host,
            _wish(chosen, basis),
            out,
            facts={
                "calls": str(len(calls)),
                "bodies": str(sum(len(call.kept) for call in calls)),
                "teams": " ".join(sorted({call.team for call in calls}))[:2_000],
            },
            life=life,
            team=chosen.team,
            request_id=only,
        )
    return ask, len(calls)


def erase_bodies(
    host: OpenHost, chosen: Selection, *, basis: str, envelope: bytes
) -> Erased:
    """Destroy the bodies that an approval allows to be erased, having recorded it.

    Raises:
        SignatureError, MalformedError: It is no approval that this host trusts.
        UnsuitableApprovalError, ExpiredError, UsedApprovalError: It does not allow
            this.
        MissingError, BodyNotKeptError, BodyErasedError, BodyPrunedError: There is
            nothing to erase.
        ConflictError: A request is still being answered.
        HeldError: A hold keeps one of them.
        LimitExceededError: Too many requests for one approval.
        AuditUnavailableError: The ledger cannot write; nothing was erased.
        StorageFaultError: The disk refused. If the records are there, whoever comes
            next goes on from them: see ``body_finish_flow``.
    """
    only = chosen.request_ids[0] if len(chosen.request_ids) == 1 else None
    with refusals_on_record(host, Act.BODY_ERASED, only):
        # 1. what is left from before
        carry_out(host)
        # 2. the approval
        leave = read_leave(host, envelope)
        # 3. which, and the records
        with host.change() as connection:
            check_leave(connection, host, leave, _wish(chosen, basis))
            calls = _calls(host, connection, chosen, size=int(leave.ask.size))
            drafts = [_draft(call, leave=leave, basis=basis) for call in calls]
            receipts = host.record(connection, drafts, now=host.clock.now())
    # 4. the bodies; a server may have been quicker
    carry_out(host)
    return Erased(
        requests=tuple(call.request_id for call in calls),
        bodies=sum(len(call.kept) for call in calls),
        first_seq=receipts[0].seq,
        last_seq=receipts[-1].seq,
    )


def _wish(chosen: Selection, basis: str) -> Wish:
    return Wish(act=Act.BODY_ERASED, values=chosen.values(), reason=basis)


def _calls(
    host: OpenHost, connection: Connection, chosen: Selection, *, size: int
) -> tuple[CapturedCall, ...]:
    """Return the requests that a selection is about, of the first ``size`` records."""
    if chosen.request_ids:
        found = tuple(
            _named(connection, name, size=size)
            for name in dict.fromkeys(chosen.request_ids)
        )
    else:
        found = tuple(_found(host, connection, chosen, size=size))
    if not found:
        raise MissingError(
            "no body is kept that this is about",
            where=", ".join(f"{name} {text}" for name, text in chosen.values().items()),
        )
    check_not_held(connection, [call.request_id for call in found])
    return found


def _named(connection: Connection, name: str, *, size: int) -> CapturedCall:
    call = check_kept(read_captured(connection, name, size=size), where=name)
    if not call.ended:
        raise ConflictError(
            "this request is still being answered",
            where=name,
            hint="Erase it when its answer is complete.",
        )
    return call


def _found(
    host: OpenHost, connection: Connection, chosen: Selection, *, size: int
) -> Iterator[CapturedCall]:
    """Yield the requests with kept bodies that a selection takes, up to the limit.

    One that is still being answered is left: the same approval does not erase it, and
    another one can when its answer is complete.
    """
    if not host.home.bodies.exists():
        return
    with opened_vault(host) as vault:
        names = dict.fromkeys(name for name, _ in vault.names(team=chosen.team))
    number = 0
    for name in names:
        call = read_captured(connection, name, size=size)
        if call is None or call.destroyed_by or not (call.ended and chosen.takes(call)):
            continue
        number += 1
        if number > MAX_REQUESTS:
            raise LimitExceededError(
                "too many requests for one approval",
                expected=f"at most {MAX_REQUESTS:,}",
                hint="Choose fewer: a team's with an earlier --before.",
            )
        yield call


def _draft(call: CapturedCall, *, leave: Leave, basis: str) -> Draft:
    return Draft(
        event=Event.BODY_ERASED,
        outcome=Outcome.OK,
        team=call.team,
        request_id=call.request_id,
        fields={
            "parts": tuple(call.kept),
            "basis": basis,
            "approval": leave.field(),
            **account_fields(),
        },
    )
