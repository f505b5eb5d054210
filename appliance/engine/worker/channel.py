"""The worker's end of the socket: orders in, reports out, whole frames only.

One thread may read while another writes.
"""

import select
import socket

from appliance.engine import protocol as wire

REST_WAIT_S = 0.05
"""How long the rest of a frame is waited for once it has begun to arrive.

A long frame fills the socket several times over. Whoever waits behind it would
otherwise wait for as many steps.
"""

_READ_BYTES = 2**20


class Channel:
    """The worker's end of the socket.

    Attributes:
        read_bytes: What the last orders came in.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(None)
        self._arrival = select.poll()
        self._arrival.register(connection, select.POLLIN)
        self._splitter = wire.FrameSplitter()
        self.read_bytes = 0

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        """Return the orders that have arrived, waiting at most ``wait_s`` for one.

        The first frame is read to its end, unless the gateway stalls.

        Raises:
            EOFError: The gateway is gone.
        """
        data = self._read(wait_s)
        self.read_bytes = len(data)
        payloads = list(self._splitter.feed(data))
        while data and self._splitter.incomplete and not payloads:
            data = self._read(REST_WAIT_S)
            self.read_bytes += len(data)
            payloads += self._splitter.feed(data)
        return [wire.decode_order(payload) for payload in payloads]

    def _read(self, wait_s: float | None) -> bytes:
        """Return what has arrived; nothing if nothing came in time."""
        if wait_s is not None and not self._arrival.poll(1000 * wait_s):
            return b""
        try:
            data = self._socket.recv(_READ_BYTES)
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
        try:
            self._socket.sendall(wire.encode(report))
        except ConnectionError as error:
            raise EOFError from error
