"""Asks a probe process what a load would take.

The gateway reads no byte of a model, not even to count. A probe that dies, hangs
or answers nonsense is a refusal of the model it was asked about: nobody loads it.
"""

import contextlib
from collections.abc import AsyncIterator

from appliance.engine.launch import PROBE
from appliance.engine.planning.child import Child, nonsense, open_child
from appliance.engine.planning.memory import Footprint
from appliance.engine.protocol import Load, Measured
from bundleformat.errors import LimitExceededError

ANSWER_S = 60.0
"""How long one answer may take; they take some hundredths. Unit: seconds."""

MAX_QUESTIONS = 512
"""Most questions that one probe is asked."""


class Probe:
    """One probe process; see :func:`open_probe`."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._asked = 0

    async def measure(self, order: Load) -> Footprint:
        """Return what ``order`` would take.

        Raises:
            ProbeDiedError: The probe died on it.
            EngineUnavailableError: llama.cpp cannot load it, or not like this; or
                the probe hung, or answered nonsense.
            LimitExceededError: It was asked too often.
        """
        self._asked += 1
        if self._asked > MAX_QUESTIONS:
            raise LimitExceededError(
                "a probe is asked too often", expected=f"at most {MAX_QUESTIONS} times"
            )
        report = await self._child.ask(order, answer_s=ANSWER_S)
        if not isinstance(report, Measured):
            raise nonsense()
        return report.footprint


@contextlib.asynccontextmanager
async def open_probe(allowed_bytes: int) -> AsyncIterator[Probe]:
    """A probe that takes at most ``allowed_bytes`` itself; gone afterwards.

    Raises:
        EngineUnavailableError: The host cannot start a process.
    """
    async with open_child(PROBE, str(allowed_bytes)) as child:
        yield Probe(child)
