"""Says what a load would take: ``python -m appliance.engine.worker.probe ...``.

Arguments: the number of its end of a socket, the parent's process id, and how many
bytes it may take itself. It is sent the ``Load`` frames that an engine process
would be sent, as many as the gateway likes, and answers each with what the load
would take. Nothing of the weights is read: llama.cpp lays the model out without
allocating it. A model that crashes this process was not loaded by anybody.
"""

import dataclasses
import resource
import socket
import sys
import traceback
from typing import Any

import llama_cpp.llama_cpp as native

from appliance.engine import protocol as wire
from appliance.engine.llama import footprint
from appliance.engine.llama.devices import gpus
from appliance.engine.llama.kind import makes_vectors
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import (
    Parameters,
    parameters_for,
    vector_parameters,
)
from appliance.engine.planning.memory import Ceiling, Footprint
from appliance.engine.scheduling.admission import Limits, fit
from appliance.engine.worker.channel import Channel
from appliance.engine.worker.contain import contain
from appliance.engine.worker.load_vectors import vector_limits
from appliance.engine.worker.vitals import read_vitals
from bundleformat.errors import Error, InternalFaultError

CPU_S = 120
"""Processor time of one probe, however often it is asked. Unit: seconds."""

STACK_BYTES = 8 * 2**20
"""What a thread takes of an address space, where no limit says less."""


class Prober:
    """Answers for one model at a time, and keeps its outline between two questions.

    Args:
        ceilings: What limits of this process leave, before any model.
    """

    def __init__(self, ceilings: tuple[Ceiling, ...]) -> None:
        self._at_start = ceilings
        self._key: Any = None
        self._model: Model | None = None
        self._resident_bytes = 0

    def measure(self, order: wire.Load) -> Footprint:
        """Return what ``order`` would take.

        Raises:
            EngineUnavailableError: llama.cpp cannot load it, or not like this.
        """
        model = self._outline(order)
        parameters, limits = _shape(order, model)
        opened = footprint.open_context(model.handle, parameters)
        try:
            exact = footprint.is_exact(opened)
            memory = footprint.memory_of(opened, limits, exact=exact)
            repacked = footprint.is_repacked(opened)
        finally:
            native.llama_free(opened.handle)
        return Footprint(
            memory=dataclasses.replace(memory, process_bytes=self._resident_bytes),
            trained_tokens=model.trained_tokens,
            context_tokens=limits.context_tokens if limits else parameters.cells,
            cells=parameters.cells,
            sequences=limits.sequences if limits else parameters.sequences,
            layers=native.llama_model_n_layer(model.handle),
            vectors=limits is None,
            repacked=repacked,
            exact=exact,
            gpus=gpus(),
            ceilings=self._ceilings(order),
        )

    def _outline(self, order: wire.Load) -> Model:
        """Return the model without its weights, its layers spread as ``order`` says."""
        key = (order.model_paths, order.gpu_layers)
        if self._model is None or key != self._key:
            if self._model is not None:
                native.llama_model_free(self._model.handle)
                self._model = None
            parameters = parameters_for(order, order.limits)
            self._model = Model(
                *order.model_paths, parameters=parameters, weights=False
            )
            self._key = key
            self._resident_bytes = read_vitals()["VmRSS"]
        return self._model

    def _ceilings(self, order: wire.Load) -> tuple[Ceiling, ...]:
        """Return what is left to an engine, its process counted in."""
        spent = (order.threads - 1) * STACK_BYTES - self._resident_bytes
        return tuple(
            Ceiling(name=each.name, left_bytes=each.left_bytes - spent)
            for each in self._at_start
        )


def _shape(order: wire.Load, model: Model) -> tuple[Parameters, Limits | None]:
    """Return what an engine would make of ``order``; no limits if it makes vectors."""
    trained_tokens = model.trained_tokens
    if makes_vectors(model):
        longest = vector_limits(order.limits, trained_tokens=trained_tokens)
        return vector_parameters(order, longest), None
    limits = fit(order.limits, trained_tokens=trained_tokens, shares=model.shares_cells)
    return parameters_for(order, limits), limits


def inherited() -> tuple[Ceiling, ...]:
    """Return the limits that this process was started with, and what they leave."""
    vitals = read_vitals()
    return tuple(
        Ceiling(name=name, left_bytes=soft - vitals[vital])
        for name, number, vital in (
            ("the limit of the address space", resource.RLIMIT_AS, "VmSize"),
            ("the limit of data", resource.RLIMIT_DATA, "VmData"),
        )
        if (soft := resource.getrlimit(number)[0]) != resource.RLIM_INFINITY
    )


def confine(allowed_bytes: int) -> None:
    """Take no more than ``allowed_bytes`` from here on, nor more time than it needs.

    A GPU's driver reserves addresses by the terabyte. Where there is one, only
    what can be written to is bounded.
    """
    kind, vital = resource.RLIMIT_AS, "VmSize"
    if gpus():
        kind, vital = resource.RLIMIT_DATA, "VmData"
    most = read_vitals()[vital] + allowed_bytes
    soft, hard = resource.getrlimit(kind)
    for limit in (soft, hard):
        if limit != resource.RLIM_INFINITY:
            most = min(most, limit)
    resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def answer(channel: Channel, prober: Prober) -> None:
    """Answer every order until the gateway is gone.

    Raises:
        EOFError: It is gone; the only way out.
    """
    while True:
        for order in channel.receive(wait_s=None):
            if not isinstance(order, wire.Load):
                raise InternalFaultError("a probe is asked for something else")
            try:
                report: wire.Report = wire.Measured(footprint=prober.measure(order))
            except Error as error:
                report = wire.LoadFailed(problem=error.text())
            except MemoryError:
                report = wire.LoadFailed(problem="the probe ran out of memory")
            channel.send(report)


def main(arguments: list[str]) -> int:
    """Run one probe and return its exit status."""
    try:
        contain(int(arguments[1]))
        ceilings = inherited()
        confine(int(arguments[2]))
        answer(Channel(socket.socket(fileno=int(arguments[0]))), Prober(ceilings))
    except EOFError:
        return 0
    except Error as error:
        sys.stderr.write(f"probe: {error.text()}\n")
        return error.exit_status
    except Exception as error:  # noqa: BLE001  # the top of the process: a bug, told without its text
        place = "".join(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"probe: bug: {type(error).__name__}\n{place}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
