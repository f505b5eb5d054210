"""Many requests at one moment, from one thread that does nothing but wait for them.

An event loop of coroutines takes longer to send three hundred requests than a
server takes to refuse them, and would measure itself. This uses one ``epoll`` and
bytes: a request is a line in a table.
"""

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"


@dataclass(kw_only=True, slots=True)
class Flooded:
    """One request of a flood, as its caller saw it.

    Attributes:
        status: HTTP status; 0 if the connection broke off before it.
        asked_s: When its connection was asked for, of ``time.perf_counter``.
        answered_s: When the whole head of the answer was there.
        ended_s: When the connection was closed by the server.
        head: Status line and headers.
        body: What came after them.
    """

    status: int = 0
    asked_s: float = 0.0
    answered_s: float = 0.0
    ended_s: float = 0.0
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)

    @property
    def latency_s(self) -> float:
        """Seconds from asking for the connection to the head of the answer."""
        return self.answered_s - self.asked_s


def flood(url: str, requests: Sequence[bytes], *, limit_s: float) -> list[Flooded]:
    """Send every request on a connection of its own at once; return what came.

    Each request MUST ask the server to close the connection.

    Raises:
        TimeoutError: Some were not answered to their end in ``limit_s`` seconds.
    """
    at = urlsplit(url)
    place = (str(at.hostname), int(at.port or 80))
    found = [Flooded() for _ in requests]
    poll = select.epoll()
    open_ones: dict[int, tuple[socket.socket, Flooded]] = {}
    waiting = dict(enumerate(requests))
    by_socket: dict[int, int] = {}
    try:
        for number, answer in enumerate(found):
            connection = socket.socket()
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answer.asked_s = time.perf_counter()
            connection.connect_ex(place)
            open_ones[connection.fileno()] = (connection, answer)
            by_socket[connection.fileno()] = number
            poll.register(connection.fileno(), select.EPOLLOUT)
        deadline = time.perf_counter() + limit_s
        while open_ones:
            left_s = deadline - time.perf_counter()
            if left_s <= 0:
                raise TimeoutError(f"{len(open_ones)} requests were not answered")
            for descriptor, _ in poll.poll(left_s):
                connection, answer = open_ones[descriptor]
                request = waiting.pop(by_socket[descriptor], None)
                if request is not None:
                    connection.sendall(request)
                    poll.modify(descriptor, select.EPOLLIN)
                elif _read(connection, answer):
                    poll.unregister(descriptor)
                    connection.close()
                    del open_ones[descriptor]
    finally:
        poll.close()
        for connection, _ in open_ones.values():
            connection.close()
    return found


def _read(connection: socket.socket, answer: Flooded) -> bool:
    """Take in what came; return whether the connection is over."""
    try:
        data = connection.recv(2**16)
    except BlockingIOError:
        return False
    except OSError:
        data = b""
    now = time.perf_counter()
    answer.body += data
    if not answer.answered_s and END_OF_HEAD in answer.body:
        answer.answered_s = now
        head, _, rest = bytes(answer.body).partition(END_OF_HEAD)
        answer.head, answer.body = head, bytearray(rest)
        answer.status = int(head.split(None, 2)[1])
    if not data:
        answer.ended_s = now
    return not data
