"""Reading a stored prompt or answer: by two people, and on record before.

1. the ledger says that the body was kept, and that nothing destroyed it;
2. a second person's approval is for exactly this;
3. in one transaction: the approval was not used, and ``body.read``;
4. only when that is durable, the body is decrypted, and compared with what its
   record commits to.

Whatever is refused is on record, too. Where the ledger cannot record, nothing is read.
Source: PCI DSS 4.0.1, 10.2.1.3; NIST SP 800-53 AC-3(2).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.account import account_fields
from appliance.approval_flow import Leave, Wish, check_leave, read_leave, write_ask
from appliance.audit_media.new_file import check_absent
from appliance.bodies.commitment import Commitment
from appliance.bodies.vault import Part
from appliance.body_flow import check_kept, opened_vault, refusals_on_record
from appliance.errors import BodyLostError, BodyNotKeptError
from appliance.host import OpenHost
from appliance.ledger.log.captured import CapturedCall, Kept, read_captured
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft
from bundleformat.approval import Act, Ask
from bundleformat.errors import DigestMismatchError

PARTS: tuple[Part, ...] = ("request", "response")
"""Both bodies of a request, in the order they are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownBody:
    """One body in the clear, and the record that commits to it."""

    part: Part
    seq: int
    commitment: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyReading:
    """The bodies that were read, and the number of the ``body.read`` of that."""

    seq: int
    bodies: tuple[ShownBody, ...]


def ask_to_read(
    host: OpenHost,
    request_id: str,
    out: Path,
    *,
    part: Part | None,
    reason: str,
    life: dt.timedelta,
) -> Ask:
    """Write to ``out`` what a second person is asked to approve; it is on record.

    Without ``part`` it is every part that was kept.

    Raises:
        MissingError, BodyNotKeptError, BodyErasedError, BodyPrunedError: There is
            nothing to read.
        UsageError, ConflictError, AuditUnavailableError, StorageFaultError: As
            ``write_ask``.
    """
    check_absent(out)
    with refusals_on_record(host, Act.BODY_READ, request_id):
        call, parts = _readable(host, request_id, part)
        return write_ask(
            host,
            _wish(request_id, parts, reason),
            out,
            facts={
                "team": call.team,
                "key": call.key_id,
                "accepted": call.ts,
                "size_bytes": " and ".join(
                    str(call.kept[each].size_bytes) for each in parts
                ),
            },
            life=life,
            team=call.team,
            request_id=request_id,
        )


def read_bodies(
    host: OpenHost, request_id: str, *, part: Part | None, reason: str, envelope: bytes
) -> BodyReading:
    """Return what an approval allows to be read, having recorded that it is read.

    Without ``part`` it is every part that the approval names.

    Raises:
        MissingError, BodyNotKeptError, BodyErasedError, BodyPrunedError: There is
            nothing to read.
        SignatureError, MalformedError, LimitExceededError: It is no approval that
            this host trusts.
        UnsuitableApprovalError, ExpiredError, UsedApprovalError: It does not allow
            this.
        AuditUnavailableError, StorageFaultError: Nothing was read.
        BodyLostError, DigestMismatchError: The reading is on record, and the body is
            gone or is not what its record commits to.
    """
    with refusals_on_record(host, Act.BODY_READ, request_id):
        # 1. what was kept
        call, parts = _readable(host, request_id, part)
        # 2. and 3. the approval, and the record
        leave = read_leave(host, envelope)
        if part is None:
            parts = _approved_parts(leave, parts)
        seq = _record(host, call, parts, reason=reason, leave=leave)
        # 4. the bodies
        bodies = tuple(_read(host, call, each) for each in parts)
    return BodyReading(seq=seq, bodies=bodies)


def _readable(
    host: OpenHost, request_id: str, part: Part | None
) -> tuple[CapturedCall, tuple[Part, ...]]:
    with host.look() as connection:
        call = check_kept(read_captured(connection, request_id), where=request_id)
    if part is not None and part not in call.kept:
        raise BodyNotKeptError(
            f"no {part} of this request was kept",
            where=request_id,
            expected=" or ".join(call.kept),
        )
    return call, tuple(
        each for each in PARTS if each in ((part,) if part else call.kept)
    )


def _wish(request_id: str, parts: Sequence[Part], reason: str) -> Wish:
    return Wish(
        act=Act.BODY_READ,
        values={"request_id": request_id, "parts": " ".join(parts)},
        reason=reason,
    )


def _approved_parts(leave: Leave, kept: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return those kept parts that the approval names, if it names no other."""
    named = leave.ask.values.get("parts", "").split()
    chosen = tuple(each for each in kept if each in named)
    return chosen if named and len(chosen) == len(named) else kept


def _record(
    host: OpenHost,
    call: CapturedCall,
    parts: tuple[Part, ...],
    *,
    reason: str,
    leave: Leave,
) -> int:
    with host.change() as connection:
        check_leave(connection, host, leave, _wish(call.request_id, parts, reason))
        draft = Draft(
            event=Event.BODY_READ,
            outcome=Outcome.OK,
            team=call.team,
            request_id=call.request_id,
            fields={
                "parts": parts,
                "reason": reason,
                "approval": leave.field(),
                **account_fields(),
            },
        )
        (receipt,) = host.record(connection, [draft], now=host.clock.now())
    return receipt.seq


def _read(host: OpenHost, call: CapturedCall, part: Part) -> ShownBody:
    kept = call.kept[part]
    body = None
    if host.home.bodies.exists():
        with opened_vault(host) as vault:
            body = vault.get(call.request_id, part)
    if body is None:
        raise BodyLostError(
            f"the {part} is not among the stored bodies",
            where=str(host.home.bodies),
            expected=f"what record {kept.seq} commits to",
            hint="Keep the file: no record says that it was taken out.",
        )
    return ShownBody(
        part=part,
        seq=kept.seq,
        commitment=kept.commitment,
        data=_checked(body.data, body.salt, kept, part),
    )


def _checked(data: bytes, salt: bytes, kept: Kept, part: Part) -> bytes:
    found = Commitment(salt)
    found.add(data)
    if (found.hexdigest(), found.size_bytes) != (kept.commitment, kept.size_bytes):
        raise DigestMismatchError(
            f"the stored {part} is not what record {kept.seq} commits to",
            where="bodies.db",
            hint="Keep the file: it is evidence.",
        )
    return data
