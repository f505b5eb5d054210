"""Hears the orders while a batch is computed; they are obeyed between two batches."""

import threading
from collections.abc import Callable

from appliance.engine import protocol as wire
from appliance.engine.worker.channel import Channel

MOST_HELD_BYTES = 2**20
"""Frames that are read ahead of being obeyed, and one more. Unit: bytes."""


class Ear:
    """A channel that a thread of its own reads.

    Args:
        channel: The worker's end of the socket.
        hear: What is told of every order as soon as it has arrived, in that thread
            and before anybody can take it.
    """

    def __init__(self, channel: Channel, hear: Callable[[wire.Order], None]) -> None:
        self._channel = channel
        self._hear = hear
        self._turn = threading.Condition()
        self._orders: list[wire.Order] = []
        self._held_bytes = 0
        self._end: Exception | None = None
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        """Return the orders that have arrived, waiting at most ``wait_s`` for one.

        Raises:
            EOFError: The gateway is gone.
        """
        with self._turn:
            if wait_s != 0:
                self._turn.wait_for(lambda: self._orders or self._end, timeout=wait_s)
            orders, self._orders = self._orders, []
            self._held_bytes = 0
            self._turn.notify()
        if not orders and self._end is not None:
            raise self._end
        return orders

    def send(self, report: wire.Report) -> None:
        """Send one frame.

        Raises:
            EOFError: The gateway is gone.
        """
        self._channel.send(report)

    def _listen(self) -> None:
        """Read until the gateway is gone, or says what cannot be understood."""
        try:
            while True:
                self._keep(self._channel.receive(wait_s=None))
        except Exception as error:  # noqa: BLE001  # raised again where orders are taken
            with self._turn:
                self._end = error
                self._turn.notify()

    def _keep(self, orders: list[wire.Order]) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._held_bytes < MOST_HELD_BYTES)
            self._orders += orders
            self._held_bytes += self._channel.read_bytes
            self._turn.notify()
            for order in orders:
                self._hear(order)
