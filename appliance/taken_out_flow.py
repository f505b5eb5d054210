"""Keeping on record which models crashed too often, and that they are tried again.

The serving process decides that a model is taken out, and what it decided outlives
no restart: whoever starts the server gives every model another try. The database
holds it meanwhile, so that commands can show it and take it back.
"""

from collections.abc import Mapping
from types import MappingProxyType

from appliance.engine.pool.setbacks import TakenOut
from appliance.host import OpenHost
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from appliance.registry import taken_out
from appliance.registry.catalogue import ActiveModel, active_models
from bundleformat.digest import Sha256


def record_taken_out(host: OpenHost, sha256: Sha256, out: TakenOut) -> None:
    """Enter a model and write ``model.taken_out``, both or neither; once.

    Raises:
        StorageFaultError: The disk refused; nothing changed.
        AuditUnavailableError: The ledger cannot write; nothing changed.
    """
    now = host.clock.now()
    with host.change() as connection:
        if not taken_out.take_out(connection, sha256, crashes=out.crashes, now=now):
            return
        draft = Draft(
            event=Event.MODEL_TAKEN_OUT,
            outcome=Outcome.ERROR,
            fields={
                "model": {"name": out.name, "sha256": sha256},
                "crashes": out.crashes,
                "window_s": out.window_s,
                "exit_status": str(out.exit_status),
            },
        )
        host.record(connection, [draft], now=now)


def try_all_again(host: OpenHost) -> None:
    """Put back every model that was taken out; the server is being started.

    Raises:
        StorageFaultError: The disk refused; nothing changed.
        AuditUnavailableError: The ledger cannot write; nothing changed.
    """
    with host.change() as connection:
        digests = taken_out.taken_out_digests(connection)
        if not digests:
            return
        back = [m for m in active_models(connection) if m.sha256 in digests]
        for sha256 in digests:
            taken_out.put_back(connection, sha256)
        drafts = [put_back_draft(model, reason="server-started") for model in back]
        host.record(connection, drafts, now=host.clock.now())


def put_back_draft(
    model: ActiveModel,
    *,
    reason: str,
    account: Mapping[str, JSON] = MappingProxyType({}),
) -> Draft:
    """Return the record of another try; ``account`` is who asked for it, if any did."""
    said: JSON = {
        "name": model.name,
        "sha256": model.sha256,
        "generation": model.generation,
    }
    return Draft(
        event=Event.MODEL_PUT_BACK,
        outcome=Outcome.OK,
        fields={"model": said, "reason": reason, **account},
    )
