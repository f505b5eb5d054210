"""Measures how fast a model is: ``python -m appliance.engine.worker.stopwatch ...``.

Arguments: the number of its end of a socket and the parent's process id. It loads
the model that the first ``Load`` frame names, and for that frame and each further
one makes the context it asks for, measures, and frees it. It is contained like an
engine and serves nobody.

A cache is filled by copying: one beginning is computed and its state is given to
every sequence. Attention then looks at as many cells as if all had been computed.
"""

import socket
import sys
import traceback
from collections.abc import Callable
from statistics import median

from appliance.clock import SystemClock
from appliance.engine import protocol as wire
from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import parameters_for
from appliance.engine.planning.choices import Timing
from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits, fit
from appliance.engine.scheduling.decoder import Slice, Undone
from appliance.engine.worker.channel import Channel
from appliance.engine.worker.contain import contain
from appliance.errors import EngineUnavailableError
from bundleformat.errors import Error, InternalFaultError

STEPS = 5
"""Steps of each kind; the median counts."""

FILL_TOKENS = 512
"""Most tokens that each sequence begins with."""

_GREEDY = Sampling(temperature=0)


def measure(model: Model, order: wire.Load, *, now_s: Callable[[], float]) -> Timing:
    """Return how fast a context is that ``order`` asks for; it is freed again.

    Raises:
        EngineUnavailableError: llama.cpp cannot make it, or failed.
    """
    limits = fit(
        order.limits, trained_tokens=model.trained_tokens, shares=model.shares_cells
    )
    context = Context(model, parameters_for(order, limits))
    try:
        return _Bench(context, limits, now_s=now_s).run()
    finally:
        context.close()


class _Bench:
    """Fills one context and takes the time of its steps."""

    def __init__(
        self, context: Context, limits: Limits, *, now_s: Callable[[], float]
    ) -> None:
        self._context = context
        self._limits = limits
        self._now_s = now_s
        # Half of the cache, and room for the steps in every sequence.
        share = limits.cells // (2 * limits.sequences)
        room = limits.context_tokens - 2 * STEPS - 2
        self._fill = max(1, min(FILL_TOKENS, limits.batch_tokens, share, room))
        self._ends = [self._fill] * limits.sequences

    def run(self) -> Timing:
        for sequence in range(self._limits.sequences):
            self._context.open(
                sequence, sampling=_GREEDY, max_new_tokens=STEPS, generated=()
            )
        # The first one pays for what is done once: reading weights, making buffers.
        self._prompt()
        prompt_s = self._prompt()
        self._spread()
        together = range(self._limits.sequences)
        return Timing(
            prompt_s=prompt_s * self._limits.batch_tokens / self._fill,
            alone_s=median(self._step(range(1)) for _ in range(STEPS)),
            together_s=median(self._step(together) for _ in range(STEPS)),
            rows=self._limits.sequences,
            filled_cells=sum(self._ends),
        )

    def _prompt(self) -> float:
        """Compute the beginning of the first sequence anew; return its seconds."""
        self._context.drop(0)
        return self._run([self._slice(0, begin=0, count=self._fill)])

    def _spread(self) -> None:
        """Give every sequence the state of the first."""
        state = self._context.save(0)
        for sequence in range(1, self._limits.sequences):
            if not self._context.restore(sequence, state):
                raise EngineUnavailableError("a cache cannot be filled")

    def _step(self, sequences: range) -> float:
        """Compute one token more of each; return the seconds."""
        batch = [
            self._slice(each, begin=self._ends[each], count=1) for each in sequences
        ]
        for each in sequences:
            self._ends[each] += 1
        return self._run(batch)

    def _slice(self, sequence: int, *, begin: int, count: int) -> Slice:
        words = self._context.vocabulary_size
        tokens = [(begin + number) % words for number in range(count)]
        return Slice(sequence=sequence, position=begin, tokens=tokens, wants_token=True)

    def _run(self, batch: list[Slice]) -> float:
        began_s = self._now_s()
        if isinstance(self._context.decode(batch), Undone):
            raise EngineUnavailableError("the cache had no cells left")
        return self._now_s() - began_s


def answer(channel: Channel, *, now_s: Callable[[], float]) -> None:
    """Load the model that the first order names, and answer every order.

    Raises:
        EOFError: The gateway is gone; the only way out.
        EngineUnavailableError: The model cannot be loaded.
    """
    model: Model | None = None
    while True:
        for order in channel.receive(wait_s=None):
            if not isinstance(order, wire.Load):
                raise InternalFaultError("a stopwatch is asked for something else")
            try:
                if model is None:
                    parameters = parameters_for(order, order.limits)
                    model = Model(*order.model_paths, parameters=parameters)
                timing = measure(model, order, now_s=now_s)
            except Error as error:
                channel.send(wire.LoadFailed(problem=error.text()))
            else:
                channel.send(wire.Timed(timing=timing))


def main(arguments: list[str]) -> int:
    """Run one stopwatch and return its exit status."""
    clock = SystemClock()
    try:
        contain(int(arguments[1]))
        channel = Channel(socket.socket(fileno=int(arguments[0])))
        answer(channel, now_s=lambda: clock.monotonic_ns() / 1e9)
    except EOFError:
        return 0
    except Error as error:
        sys.stderr.write(f"stopwatch: {error.text()}\n")
        return error.exit_status
    except Exception as error:  # noqa: BLE001  # the top of the process: a bug, told without its text
        place = "".join(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"stopwatch: bug: {type(error).__name__}\n{place}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
