"""An export with prompts and answers: by two people, for one auditor, on record before.

1. which records: they end with one that is there when leave is asked.
2. a second person's approval is for exactly these, and for this auditor's key.
3. in one transaction: the approval was not used, and ``log.exported``.
4. only then bodies are decrypted, one at a time; each is compared with what its
   record commits to, and leaves the host encrypted.

Whatever is refused is on record, too. A halted ledger gives no bodies: that they
left could not be recorded.
Source: PCI DSS 4.0.1, 10.2.1.3; NIST SP 800-53 AC-3(2).
"""

import dataclasses
import datetime as dt
from pathlib import Path

from sqlalchemy import Connection

from appliance.approval_flow import Leave, Wish, check_leave, read_leave, write_ask
from appliance.audit_flow import Asked, Form, Texts, export_ledger, find_selection
from appliance.audit_media.new_file import check_absent
from appliance.audit_media.sealed_file import Recipient
from appliance.bodies.vault import Vault
from appliance.body_flow import carry_out, opened_vault, refusals_on_record
from appliance.host import OpenHost
from appliance.ledger.exports.bodies_file import Fetch, count_bodies
from appliance.ledger.exports.export import Export
from appliance.ledger.exports.redaction import Redaction
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.halt import check_not_halted
from appliance.ledger.log.head import read_verified_head
from appliance.ledger.records.fields import JSON
from bundleformat.approval import Act, Ask
from bundleformat.errors import MissingError, UsageError


def ask_to_export(
    host: OpenHost,
    out: Path,
    *,
    asked: Asked,
    recipient: Recipient,
    reason: str,
    life: dt.timedelta,
) -> Ask:
    """Write to ``out`` what a second person is asked to approve; it is on record.

    Where ``asked`` does not end, it ends with the newest record that there is.

    Raises:
        UsageError, MissingError: What is asked for does not exist.
        ConflictError, AuditUnavailableError, StorageFaultError: As ``write_ask``.
    """
    check_absent(out)
    with refusals_on_record(host, Act.LOG_EXPORTED, None):
        with host.look() as connection:
            newest = read_verified_head(connection, log=host.log).size - 1
            selection = find_selection(connection, asked)
            if asked.end is None:
                selection = dataclasses.replace(selection, last=newest)
            _check_end(selection, newest=newest)
            count, size_bytes = count_bodies(connection, selection)
        return write_ask(
            host,
            _wish(selection, recipient, reason),
            out,
            facts={"bodies": str(count), "size_bytes": str(size_bytes)},
            life=life,
        )


def export_bodies(
    host: OpenHost,
    out: Path,
    *,
    asked: Asked,
    form: Form,
    reason: str,
    envelope: bytes,
) -> Export:
    """Write what an approval allows to the new file ``out``, encrypted.

    Where ``asked`` ends with no record's number, it ends where the approval does.

    Raises:
        UsageError: It is not encrypted for anybody.
        SignatureError, MalformedError, LimitExceededError: It is no approval that
            this host trusts.
        UnsuitableApprovalError, ExpiredError, UsedApprovalError: It does not allow
            this.
        DigestMismatchError: The export is on record, and a body is not what its
            record commits to.
        Error: Whatever ``export_ledger`` refuses.
    """
    recipient = form.recipient
    if recipient is None:
        raise UsageError(
            "prompts and answers leave the host for one auditor only",
            where="--recipient",
            hint="Name the auditor's public key.",
        )
    with refusals_on_record(host, Act.LOG_EXPORTED, None):
        leave = read_leave(host, envelope)
        asked = dataclasses.replace(asked, redaction=Redaction.FULL)
        with host.look() as connection:
            asked = _ending_as_approved(connection, asked, leave)
            wish = _wish(find_selection(connection, asked), recipient, reason)

        def allow(connection: Connection) -> None:
            check_not_halted(connection)
            check_leave(connection, host, leave, wish)

        carry_out(host)
        fields: dict[str, JSON] = {"reason": reason, "approval": leave.field()}
        if not host.home.bodies.exists():
            texts = Texts(fetch=lambda *_: None, allow=allow, fields=fields)
            return export_ledger(host, out, form=form, asked=asked, texts=texts)
        with opened_vault(host) as vault:
            texts = Texts(fetch=_fetch_from(vault), allow=allow, fields=fields)
            return export_ledger(host, out, form=form, asked=asked, texts=texts)


def _fetch_from(vault: Vault) -> Fetch:
    def fetch(request_id: str, part: str) -> tuple[bytes, bytes] | None:
        body = vault.get(request_id, "request" if part == "request" else "response")
        return None if body is None else (body.salt, body.data)

    return fetch


def _check_end(selection: Selection, *, newest: int) -> None:
    if selection.last is not None and selection.last > newest:
        raise MissingError(
            "nobody can approve of records that are not there yet",
            where="--to",
            expected=f"at most {newest}",
            actual=str(selection.last),
        )


def _ending_as_approved(connection: Connection, asked: Asked, leave: Leave) -> Asked:
    """Return ``asked`` with the approved end, if its own is none, or a time after it.

    A day goes on growing after it was asked for.
    """
    approved = leave.ask.values.get("last", "")
    if not approved.isdecimal() or (asked.end is not None and asked.end.isdecimal()):
        return asked
    last = find_selection(connection, asked).last
    if last is not None and last < int(approved):
        return asked
    return dataclasses.replace(asked, end=approved)


def _wish(selection: Selection, recipient: Recipient, reason: str) -> Wish:
    chosen = {name: str(value) for name, value in selection.fields().items()}
    values = {**chosen, "redaction": "full", "recipient": recipient.key_id}
    return Wish(act=Act.LOG_EXPORTED, values=values, reason=reason)
