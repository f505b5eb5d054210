"""Stored bodies beside the ledger: opening their file, and keeping it to its word.

A body is destroyed in two steps, and only ever in this order: a record says so, in
one transaction with whatever decided it; then ``carry_out`` destroys what records
from there on say is gone. Whoever is killed between the two leaves a record that is
carried out later: see ``body_finish_flow``. Before the record, nothing of the body is
touched.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, select

from appliance.account import account_fields
from appliance.bodies.vault import Mark, Part, Vault
from appliance.db.tables import RecordRow
from appliance.errors import (
    BodyErasedError,
    BodyLostError,
    BodyNotKeptError,
    BodyPrunedError,
)
from appliance.host import OpenHost
from appliance.ledger.log.captured import (
    CapturedCall,
    Destruction,
    destructions,
    is_record,
)
from appliance.ledger.log.halt import check_not_halted
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft, token_or_digest
from bundleformat.approval import Act
from bundleformat.errors import FaultError, MissingError, RefusalError

OF_PART = {"request": Event.LLM_REQUEST, "response": Event.LLM_RESPONSE}
"""The event whose record commits to a part."""


def open_vault(host: OpenHost) -> Vault:
    """Open the host's stored bodies; their file and its key are made if need be.

    Raises:
        HostNotReadyError: The file is there and its key is not, or is no secret.
        StorageFaultError: The disk refused.
    """
    return Vault(
        host.home.bodies, key_path=host.home.bodies_key, origin=host.log.origin
    )


@contextmanager
def opened_vault(host: OpenHost) -> Iterator[Vault]:
    """Give the host's stored bodies, and close them; see ``open_vault``."""
    vault = open_vault(host)
    try:
        yield vault
    finally:
        vault.close()


def carry_out(host: OpenHost) -> int:
    """Destroy every body that a record says is gone, and return how many there were.

    Harmless when there is none, and when somebody else does it at the same time. Not
    beside a halted ledger: what its records say may be in doubt.

    Raises:
        AuditUnavailableError: The ledger is halted, and something is to be destroyed.
        HostNotReadyError, StorageFaultError: As ``open_vault``; what is not done is
            done by the next call.
    """
    if not host.home.bodies.exists():
        return 0
    with opened_vault(host) as vault:
        with host.look() as connection:
            found = to_destroy(connection, vault.destroyed_up_to())
            if not found:
                return 0
            check_not_halted(connection)
        names = tuple(dict.fromkeys(each.request_id for each in found))
        last = Mark(seq=found[-1].seq, leaf=found[-1].leaf)
        return vault.destroy(names, mark=last)


def to_destroy(connection: Connection, mark: Mark | None) -> tuple[Destruction, ...]:
    """Return what is to be carried out after a mark, the oldest record first.

    That is everything if the mark is of another history: where an older database was
    put back, and an officer accepted it, numbers are given a second time.
    """
    known = mark is not None and is_record(connection, seq=mark.seq, leaf=mark.leaf)
    return destructions(connection, after=mark.seq if mark and known else -1)


@contextmanager
def refusals_on_record(
    host: OpenHost, act: Act, request_id: str | None
) -> Iterator[None]:
    """Have it on record if what is done inside is refused, or finds a body lost.

    Raises:
        AuditUnavailableError: It was refused, and that cannot be recorded.
    """
    try:
        yield
    except (RefusalError, BodyLostError) as error:
        fault = isinstance(error, FaultError)
        draft = Draft(
            event=Event.BODY_REFUSED,
            outcome=Outcome.ERROR if fault else Outcome.REFUSED,
            request_id=None if request_id is None else token_or_digest(request_id),
            fields={"act": str(act), "code": error.code, **account_fields()},
        )
        with host.change() as connection:
            host.record(connection, [draft], now=host.clock.now())
        raise


def check_kept(call: CapturedCall | None, *, where: str) -> CapturedCall:
    """Return a request whose bodies were kept and are not destroyed.

    Raises:
        MissingError: No such request was ever accepted.
        BodyNotKeptError: Less was captured of it.
        BodyErasedError: They were erased.
        BodyPrunedError: They were pruned.
    """
    if call is None:
        raise MissingError(
            "no accepted request of that id is on record",
            where=where,
            hint="Find it with: sallyport audit search --event llm.request",
        )
    if call.destroyed_by == Event.LOG_PRUNED:
        raise BodyPrunedError(
            "the bodies of this request went when their time was over",
            where=where,
            hint="See: sallyport audit search --event log.pruned",
        )
    if call.destroyed_by:
        raise BodyErasedError(
            "the bodies of this request were erased",
            where=where,
            hint=f"Its {call.destroyed_by} says when and why: sallyport audit search.",
        )
    if not call.kept:
        raise BodyNotKeptError(
            "no body of this request was kept",
            where=where,
            expected="captured: full",
            actual=call.level,
        )
    return call


def sweep_bodies(host: OpenHost) -> int:
    """Remove every body whose record never came, and return how many there were.

    The caller MUST hold the host's serve lock, and have recorded how the requests
    ended that a crash left open.

    Raises:
        HostNotReadyError, StorageFaultError: As :func:`open_vault`.
    """
    if not host.home.bodies.exists():
        return 0
    with opened_vault(host) as vault, host.look() as connection:

        def is_recorded(request_id: str, part: Part) -> bool:
            found = select(RecordRow.seq).where(
                RecordRow.request_id == request_id,
                RecordRow.event == str(OF_PART[part]),
            )
            return connection.execute(found).first() is not None

        return vault.sweep(is_recorded)
