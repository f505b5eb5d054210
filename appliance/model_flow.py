"""What an operator does with one model: verify it, take it out of service, put it back.

A removal is known by the model's digest. It holds for every name and every
generation that has these bytes, survives restarts and rollbacks, and ends when the
model is restored, or a generation delivers other bytes under the name. The stored
files go with the next collection; until then restoring costs nothing.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.db.session import database_faults, reader
from appliance.import_steps.host import ImportHost
from appliance.intake.lock import hold_import_lock
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from appliance.registry import captures, catalogue, generations, taken_out
from appliance.registry.catalogue import ActiveModel, StoredFile
from appliance.settings import Capture
from appliance.taken_out_flow import put_back_draft
from bundleformat.digest import Sha256
from bundleformat.errors import ConflictError, MissingError

Progress = Callable[[int, int], object]
"""Told the bytes read so far and in total."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCheck:
    """A model and what is wrong with its files: the file and what, in order.

    ``repair`` says what brings them back.
    """

    model: ActiveModel
    problems: tuple[tuple[StoredFile, str], ...]
    repair: str


def verify_models(
    host: ImportHost,
    name: str | None = None,
    *,
    progress: Progress = lambda _done, _total: None,
) -> tuple[ModelCheck, ...]:
    """Return what every stored byte of the models in service says of them.

    Raises:
        MissingError: There is no model of that name.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        models = catalogue.active_models(connection)
    chosen = [model for model in models if name in (None, model.name)]
    if not chosen and name is not None:
        raise _no_model(name)
    files = {part.sha256: part for model in chosen for part in model.parts}
    total, done = sum(part.size_bytes for part in files.values()), 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    lost = {sha: host.store.lost(file, progress=count) for sha, file in files.items()}
    return tuple(
        ModelCheck(
            model=model,
            problems=tuple((p, lost[p.sha256]) for p in model.parts if lost[p.sha256]),
            repair=_repair_hint(model),
        )
        for model in chosen
    )


def find_model(host: ImportHost, name: str) -> ActiveModel:
    """Return a model in service.

    Raises:
        MissingError: There is no model of that name.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        models = catalogue.active_models(connection)
    for model in models:
        if model.name == name:
            return model
    raise _no_model(name)


def remove_model(host: ImportHost, name: str) -> tuple[ActiveModel, ...]:
    """Take a model out of service; return every name that is served no more.

    Those are more than one if others have the same bytes.

    Raises:
        MissingError: No model of that name is in service.
        StorageFaultError: The disk refused; nothing changed.
    """
    now = host.clock.now()
    with database_faults(host.database), host.database.begin() as connection:
        models = catalogue.active_models(connection)
        sha256 = _digest_of(models, name)
        gone = tuple(model for model in models if model.sha256 == sha256)
        generations.remove_model(connection, sha256, now=now)
        drafts = [
            Draft(event=Event.MODEL_REMOVED, outcome=Outcome.OK, fields=_said(model))
            for model in gone
        ]
        host.append_records(connection, drafts)
    return gone


def set_capture(host: ImportHost, name: str, capture: Capture) -> ActiveModel:
    """Set the most that is captured of calls to a model; return the model.

    It holds for whatever bears the name, also after an import.

    Raises:
        MissingError: No model of that name is in service.
        StorageFaultError: The disk refused; nothing changed.
    """
    now = host.clock.now()
    with database_faults(host.database), host.database.begin() as connection:
        found = {model.name: model for model in catalogue.active_models(connection)}
        if name not in found:
            raise _no_model(name)
        before = captures.model_captures(connection).get(name, captures.UNLIMITED)
        captures.set_model_capture(connection, name, capture, now=now)
        draft = Draft(
            event=Event.MODEL_CHANGED,
            outcome=Outcome.OK,
            fields={
                "model": _model(found[name]),
                "capture": capture,
                "was": {"capture": before} if before != capture else None,
                **account_fields(),
            },
        )
        host.append_records(connection, [draft])
    return found[name]


def restore_model(host: ImportHost, name: str) -> tuple[ActiveModel, ...]:
    """Put a model back that was removed, or taken out; return every name of it.

    Raises:
        MissingError: No removed model has that name, or its files are gone.
        HostNotReadyError: An import or a collection is running.
        StorageFaultError: The disk refused; nothing changed.
    """
    return _put_back(host, name) or _restore_removed(host, name)


def _put_back(host: ImportHost, name: str) -> tuple[ActiveModel, ...]:
    """Let a model in service be tried again that was taken out; else return nothing."""
    with database_faults(host.database), host.database.begin() as connection:
        digests = taken_out.taken_out_digests(connection)
        models = catalogue.active_models(connection)
        found = {m.sha256 for m in models if m.name == name and m.sha256 in digests}
        back = tuple(model for model in models if model.sha256 in found)
        for sha256 in found:
            taken_out.put_back(connection, sha256)
        drafts = [
            put_back_draft(model, reason="operator", account=account_fields())
            for model in back
        ]
        if drafts:
            host.append_records(connection, drafts)
    return back


def _restore_removed(host: ImportHost, name: str) -> tuple[ActiveModel, ...]:
    with (
        hold_import_lock(host.staging),
        database_faults(host.database),
        host.database.begin() as connection,
    ):
        models = catalogue.removed_models(connection)
        if name in {model.name for model in catalogue.active_models(connection)}:
            raise ConflictError("this model is in service", where=name)
        sha256 = _digest_of(models, name)
        back = tuple(model for model in models if model.sha256 == sha256)
        _check_held(host, back[0], hint=_restore_hint(back[0]))
        generations.restore_model(connection, sha256)
        drafts = [
            Draft(event=Event.MODEL_RESTORED, outcome=Outcome.OK, fields=_said(model))
            for model in back
        ]
        host.append_records(connection, drafts)
    return back


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A model of an active generation, and what keeps it from being served, if any.

    ``capture`` is the most that is captured of calls to it.
    """

    model: ActiveModel
    removed: bool
    taken_out: bool
    capture: Capture


def list_models(connection: Connection) -> tuple[Listed, ...]:
    """Return the models in service and those that were removed, by name."""
    out = taken_out.taken_out_digests(connection)
    allowed = captures.model_captures(connection)
    found = (
        Listed(
            model=model,
            removed=removed,
            taken_out=model.sha256 in out,
            capture=allowed.get(model.name, captures.UNLIMITED),
        )
        for models, removed in (
            (catalogue.active_models(connection), False),
            (catalogue.removed_models(connection), True),
        )
        for model in models
    )
    return tuple(sorted(found, key=lambda each: each.model.name))


def overdue(model: ActiveModel, *, today: dt.date) -> bool:
    """Return whether the day is over by which the model was to be reviewed."""
    day = model.terms.review_by
    return day is not None and dt.date.fromisoformat(day) < today


def _check_held(host: ImportHost, model: ActiveModel, *, hint: str) -> None:
    gone = [part for part in model.parts if not host.store.has(part.sha256)]
    if gone:
        raise MissingError(
            "the files of this model have been collected",
            where=model.name,
            actual=f"{len(model.parts) - len(gone)} of {len(model.parts)} files",
            hint=hint,
        )


def _repair_hint(model: ActiveModel) -> str:
    return generations.repair_hint(
        model.generation, channel=model.channel, version=model.version
    )


def _restore_hint(model: ActiveModel) -> str:
    return (
        "Run: sallyport store repair --removed MEDIUM, with any medium of bundle "
        f"{model.version} of channel {model.channel}; then restore the model."
    )


def _digest_of(models: tuple[ActiveModel, ...], name: str) -> Sha256:
    for model in models:
        if model.name == name:
            return model.sha256
    raise _no_model(name)


def _no_model(name: str) -> MissingError:
    return MissingError("no such model", where=name, hint="Run: sallyport model list")


def _model(model: ActiveModel) -> JSON:
    return {
        "name": model.name,
        "sha256": model.sha256,
        "generation": model.generation,
    }


def _said(model: ActiveModel) -> dict[str, JSON]:
    return {
        "model": _model(model),
        "channel": model.channel,
        "version": model.version,
        **account_fields(),
    }
