"""The worker's end of the socket: orders in, reports out, whole frames only."""

import socket

from appliance.engine import protocol as wire

REST_WAIT_S = 0.05
"""How long the rest of a frame is waited for once it has begun to arrive.

A long frame fills the socket several times over. Whoever waits behind it would
otherwise wait for as many steps.
"""

_READ_BYTES = 2**20


class Channel:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._splitter = wire.FrameSplitter()

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        """Return the orders that have arrived, waiting at most ``wait_s`` for one.

        A frame that has begun is read to its end, unless the gateway stalls.

        Raises:
            EOFError: The gateway is gone.
        """
        data = self._read(wait_s)
        payloads = list(self._splitter.feed(data))
        while data and self._splitter.incomplete:
            data = self._read(REST_WAIT_S)
            payloads += self._splitter.feed(data)
        return [wire.decode_order(payload) for payload in payloads]

    def _read(self, wait_s: float | None) -> bytes:
        """Return what has arrived; nothing if nothing came in time."""
        self._socket.settimeout(wait_s)
        try:
            data = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, TimeoutError):
            return b""
        except ConnectionError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return data

    def send(self, report: wire.Report) -> None:
        """Send one frame.

        Raises:
            EOFError: The gateway is gone.
        """
        self._socket.settimeout(None)
        try:
            self._socket.sendall(wire.encode(report))
        except ConnectionError as error:
            raise EOFError from error
