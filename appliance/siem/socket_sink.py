"""A Unix socket that a collector on this host reads; nothing else is ever opened.

The socket and the folder it lies in must belong to root or to this account, and
nobody else may write to the folder: whoever could put another socket there would
read every record. A send that takes too long fails, and the message counts as unsent.
Source: unix(7); RFC 6587, section 3.4.2 (a message on a stream ends with a line feed).
"""

import contextlib
import errno
import os
import socket
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final

SEND_TIMEOUT_S: Final = 1.0
"""How long a collector may take to make room for one message. Unit: seconds."""

WRITABLE_BY_OTHERS: Final = 0o022


class Kind(StrEnum):
    """How messages are told apart on a socket."""

    DATAGRAM = "datagram"
    STREAM = "stream"


class SocketSink:
    """Sends one message at a time; opens the socket when it has none.

    Args:
        path: Where the collector listens.
        kind: What it listens with.
    """

    def __init__(self, path: Path, *, kind: Kind) -> None:
        self._path = path
        self._kind = kind
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Have a connection to the collector.

        Raises:
            OSError: There is none, or the socket's place is not safe.
        """
        if self._socket is not None:
            return
        check_place(self._path)
        kinds = {
            Kind.DATAGRAM: socket.SOCK_DGRAM,
            Kind.STREAM: socket.SOCK_STREAM,
        }
        opened = socket.socket(socket.AF_UNIX, kinds[self._kind])
        try:
            opened.settimeout(SEND_TIMEOUT_S)
            opened.connect(str(self._path))
        except BaseException:
            opened.close()
            raise
        self._socket = opened

    def send(self, message: bytes) -> None:
        """Hand one message over, all of it.

        Raises:
            OSError: It was not taken; the connection is closed, so that the next
                message does not continue half of this one. ``errno`` is EMSGSIZE
                where it is too long for a datagram.
        """
        self.open()
        opened = self._socket
        if opened is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        try:
            if self._kind is Kind.DATAGRAM:
                opened.send(message)
            else:
                opened.sendall(message + b"\n")
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        opened, self._socket = self._socket, None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.close()


def check_place(path: Path) -> None:
    """Check that the collector's socket is where nobody else can put one.

    Raises:
        OSError: It is not there, is no socket, or another account could replace it.
    """
    final = path.resolve(strict=True)
    if not stat.S_ISSOCK(final.stat().st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), str(path))
    owners = (0, os.getuid())
    for place in (final, final.parent):
        if place.stat().st_uid not in owners:
            raise PermissionError(errno.EPERM, "another account owns it", str(place))
    if final.parent.stat().st_mode & WRITABLE_BY_OTHERS:
        raise PermissionError(
            errno.EPERM, "others may write to its folder", str(final.parent)
        )
