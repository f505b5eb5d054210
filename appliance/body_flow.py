"""Stored bodies beside the ledger: opening their file, and what a crash left in it."""

from sqlalchemy import select

from appliance.bodies.vault import Part, Vault
from appliance.db.tables import RecordRow
from appliance.host import OpenHost
from appliance.ledger.records.events import Event

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


def sweep_bodies(host: OpenHost) -> int:
    """Remove every body whose record never came, and return how many there were.

    The caller MUST hold the host's serve lock, and have recorded how the requests
    ended that a crash left open.

    Raises:
        HostNotReadyError, StorageFaultError: As :func:`open_vault`.
    """
    if not host.home.bodies.exists():
        return 0
    vault = open_vault(host)
    try:
        with host.look() as connection:

            def is_recorded(request_id: str, part: Part) -> bool:
                found = select(RecordRow.seq).where(
                    RecordRow.request_id == request_id,
                    RecordRow.event == str(OF_PART[part]),
                )
                return connection.execute(found).first() is not None

            return vault.sweep(is_recorded)
    finally:
        vault.close()
