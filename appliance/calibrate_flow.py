"""Measures how a model's cache and attention are fastest on this host, and keeps it.

1. check that the stored bytes are those admitted
2. measure each choice that fits, in a contained process
3. keep what was measured, by the model's digest and the kind of host
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import model_flow
from appliance.db.session import database_faults, reader
from appliance.engine.planning.calibrate import Calibration, calibrate
from appliance.engine.planning.choices import Choice, choose
from appliance.engine.planning.measured import (
    decode_measured,
    encode_measured,
    host_kind,
)
from appliance.engine.planning.orders import allowed, load_order, margins
from appliance.engine.planning.planner import Planner
from appliance.import_steps.host import ImportHost
from appliance.registry.calibrations import calibrations, keep_calibration
from appliance.settings import EngineSettings
from bundleformat.errors import DigestMismatchError


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """What was measured on this host, and what it makes of it.

    Attributes:
        calibration: What was measured, and what was not.
        host: The kind of host that it holds for.
        chosen: What the next load of the model takes.
    """

    calibration: Calibration
    host: str
    chosen: Choice


def chosen(
    host: ImportHost, name: str, settings: EngineSettings
) -> tuple[tuple[Path, ...], Choice | None]:
    """Return where a model lies, and what was measured to be best for it, if it was.

    Raises:
        MissingError: No model of that name is in service.
    """
    model = model_flow.find_model(host, name)
    with database_faults(host.database), reader(host.database).begin() as connection:
        kept = calibrations(connection, host=host_kind()).get(model.sha256, b"[]")
    measured = decode_measured(kept)
    choice = choose(measured, allowed(settings)) if measured else None
    return host.store.paths_of(model), choice


def calibrate_model(
    host: ImportHost,
    name: str,
    settings: EngineSettings,
    *,
    progress: Callable[[int, int], object] = lambda _done, _of: None,
) -> Calibrated:
    """Return what was measured of a model; the next load of it goes by it.

    Raises:
        MissingError: No model of that name is in service.
        DigestMismatchError: Its stored bytes are not those that were admitted.
        UnsuitableModelError: It makes vectors; there is nothing to choose.
        InsufficientMemoryError: There is no memory for it.
        EngineUnavailableError: It cannot be loaded, or not measured.
        StorageFaultError: The disk refused; nothing was kept.
    """
    kind = host_kind()
    # 1. check
    (check,) = model_flow.verify_models(host, name)
    if check.problems:
        raise DigestMismatchError(
            "a stored model is missing or has changed", where=name, hint=check.repair
        )
    # 2. measure
    order = load_order(host.store.paths_of(check.model), settings)
    found = asyncio.run(calibrate(Planner(margins(settings)), order, progress=progress))
    # 3. keep
    with database_faults(host.database), host.database.begin() as connection:
        keep_calibration(
            connection,
            check.model.sha256,
            host=kind,
            measured=encode_measured(found.measured),
            now=host.clock.now(),
        )
    return Calibrated(
        calibration=found, host=kind, chosen=choose(found.measured, allowed(settings))
    )
