"""The loop of an engine process: orders in, one batch, one frame out, again.

Orders are obeyed by one thread, on purpose, and between two batches: so a cancelled
request's cells are free before the next one, and no lock can be forgotten. Another
thread may hear them before (``ear.py``).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.scheduling.admission import RETRY_AFTER_S
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    RequestRefusedError,
)
from bundleformat.errors import ConflictError, InternalFaultError

EXPIRY_CHECK_S = 0.5
"""How often an engine without work looks for places that were held too long."""

Asked = TypeVar("Asked", wire.Prepare, wire.PrepareInputs)
"""The order that asks for a place with one kind of model."""


class Channel(Protocol):
    """The worker's end of the socket; see ``channel.py``."""

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        """Return the orders that have arrived, waiting at most ``wait_s`` for one."""

    def send(self, report: wire.Report) -> None:
        """Send one frame."""


class Compute(Protocol):
    """What computes the batches, as far as its threads go."""

    @property
    def threads(self) -> int:
        """Threads that compute a batch."""

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next batch on."""


class Queue(Protocol):
    """What holds the requests, as far as every kind of model is served alike."""

    @property
    def busy(self) -> bool:
        """Whether there is something to compute."""

    @property
    def idle(self) -> bool:
        """Whether no request holds a place."""

    def start(self, request_id: str) -> None:
        """Let a request that holds a place be computed."""

    def expire(self, now_s: float) -> Iterable[str]:
        """Give up the places that were held too long, and name them."""


class Desk(ABC, Generic[Asked]):
    """The loop between one channel and one queue.

    Args:
        takes: The order that this kind of model takes.
        takes_not: What is answered to the other kind's.
        channel: The worker's end of the socket.
        queue: What holds the requests.
        compute: What computes the batches.
        clock: Tells both times.
    """

    def __init__(
        self,
        takes: type[Asked],
        takes_not: str,
        *,
        channel: Channel,
        queue: Queue,
        compute: Compute,
        clock: Clock,
    ) -> None:
        self._takes: type[Asked] = takes
        self._takes_not = takes_not
        self._channel = channel
        self._held = queue
        self._compute = compute
        self._clock = clock

    @abstractmethod
    def accept(self, order: Asked) -> wire.Prepared:
        """Hold a place.

        Raises:
            OverloadedError: The queue is full.
            ContextLengthError: It is too long.
            RequestRefusedError: It is not what the model takes.
            ConflictError: A request of that id holds a place.
        """

    @abstractmethod
    def compute(self) -> wire.Report | None:
        """Compute one batch, if there is one, and return what it made."""

    @abstractmethod
    def cancel(self, request_id: str) -> wire.Ended | None:
        """Free what a request holds; None if it holds nothing."""

    @abstractmethod
    def stats(self) -> wire.Stats:
        """Return the counts of this moment."""

    def courtesy_s(self) -> float:
        """Return how long the next batch may wait for requests to be started.

        A request that has just got a place is started some milliseconds later, when
        its record is written. Without a moment's wait it would miss a whole batch.
        """
        return 0.0

    def run(self) -> None:
        """Serve until the gateway is gone.

        Raises:
            EOFError: It is gone; the only way out.
        """
        while True:
            self._listen(self._patience_s())
            heard_s = self.now_s()
            while (left_s := heard_s + self.courtesy_s() - self.now_s()) > 0:
                self._listen(left_s)
            for request_id in self._held.expire(self.now_s()):
                self._say(_overloaded(request_id, "waited too long"))
            self._say(self.compute())

    def now_s(self) -> float:
        """Return the monotonic time. Unit: seconds."""
        return self._clock.monotonic_ns() / 1e9

    def _listen(self, wait_s: float | None) -> None:
        """Obey what has arrived; wait so long for it if nothing has."""
        for order in self._channel.receive(wait_s=wait_s):
            self._say(self._obey(order))

    def _patience_s(self) -> float | None:
        if self._held.busy:
            return 0
        return None if self._held.idle else EXPIRY_CHECK_S

    def _say(self, report: wire.Report | None) -> None:
        if report is not None:
            self._channel.send(report)

    def _obey(self, order: wire.Order) -> wire.Report | None:
        match order:
            case wire.Prepare() | wire.PrepareInputs():
                return self._prepare(order)
            case wire.Start():
                self._held.start(order.request_id)
            case wire.Cancel():
                return self.cancel(order.request_id)
            case wire.UseThreads():
                self._compute.use_threads(order.threads)
            case wire.AskStats():
                return self.stats()
            case wire.Load():
                raise InternalFaultError("a second model in one process")
        return None

    def _prepare(self, order: wire.Prepare | wire.PrepareInputs) -> wire.Report:
        request_id = order.request_id
        if not isinstance(order, self._takes):
            return wire.Refused(
                request_id=request_id, problem=self._takes_not, param="model"
            )
        try:
            return self.accept(order)
        except OverloadedError as error:
            return _overloaded(request_id, error.problem)
        except ContextLengthError as error:
            return wire.TooLong(
                request_id=request_id,
                limit_tokens=error.limit_tokens,
                prompt_tokens=error.prompt_tokens,
                new_tokens=error.new_tokens,
                index=error.index,
            )
        except (RequestRefusedError, ConflictError) as error:
            return wire.Refused(
                request_id=request_id,
                problem=error.problem,
                param=getattr(error, "param", None),
            )


def _overloaded(request_id: str, problem: str) -> wire.Overloaded:
    return wire.Overloaded(
        request_id=request_id, problem=problem, retry_after_s=RETRY_AFTER_S
    )
