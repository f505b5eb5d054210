"""The collector's socket: where it may lie, and what a message may cost."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.siem.socket_sink import Kind, SocketSink


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A short path in a private folder: a socket's name has room for 107 bytes."""
    folder = tmp_path / "s"
    folder.mkdir(mode=0o700)
    before = Path.cwd()
    os.chdir(folder)
    yield Path("siem")
    os.chdir(before)


def _listener(place: Path, kind: socket.SocketKind) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.settimeout(20)
    listener.bind(str(place))
    if kind is socket.SOCK_STREAM:
        listener.listen()
    return listener


def test_where_nobody_listens_nothing_is_sent(place: Path) -> None:
    sink = SocketSink(place, kind=Kind.DATAGRAM)
    with pytest.raises(FileNotFoundError):
        sink.send(b"a")
    place.write_bytes(b"")
    with pytest.raises(OSError, match="socket") as caught:
        sink.send(b"a")
    assert caught.value.errno == errno.ENOTSOCK
    assert place.read_bytes() == b""


def test_a_socket_that_others_could_replace_gets_nothing(place: Path) -> None:
    with _listener(place, socket.SOCK_DGRAM):
        place.absolute().parent.chmod(0o777)
        with pytest.raises(PermissionError):
            SocketSink(place, kind=Kind.DATAGRAM).send(b"a")


def test_a_socket_of_another_account_gets_nothing(place: Path) -> None:
    with _listener(place, socket.SOCK_DGRAM):
        try:
            os.chown(place, 12_345, -1)
        except PermissionError:
            pytest.skip("only root gives files away")
        with pytest.raises(PermissionError):
            SocketSink(place, kind=Kind.DATAGRAM).send(b"a")


def test_a_link_is_judged_by_where_it_leads(place: Path) -> None:
    open_to_all = place.absolute().parent / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with _listener(Path("open/siem"), socket.SOCK_DGRAM):
        place.symlink_to("open/siem")
        with pytest.raises(PermissionError):
            SocketSink(place, kind=Kind.DATAGRAM).send(b"a")


def test_each_message_is_a_datagram(place: Path) -> None:
    sink = SocketSink(place, kind=Kind.DATAGRAM)
    with _listener(place, socket.SOCK_DGRAM) as listener:
        sink.send(b"one")
        sink.send(b"two")
        assert [listener.recv(99), listener.recv(99)] == [b"one", b"two"]
    sink.close()


def test_each_message_is_a_line_of_a_stream(place: Path) -> None:
    sink = SocketSink(place, kind=Kind.STREAM)
    with _listener(place, socket.SOCK_STREAM) as listener:
        sink.send(b"one")
        sink.send(b"two")
        connection, _ = listener.accept()
        sink.close()
        with connection, connection.makefile("rb") as lines:
            assert lines.readlines() == [b"one\n", b"two\n"]


def test_a_message_too_long_for_a_datagram_says_so(place: Path) -> None:
    sink = SocketSink(place, kind=Kind.DATAGRAM)
    with _listener(place, socket.SOCK_DGRAM) as listener:
        with pytest.raises(OSError, match="long") as caught:
            sink.send(b"x" * 4_000_000)
        assert caught.value.errno == errno.EMSGSIZE
        sink.send(b"short")
        assert listener.recv(99) == b"short"
    sink.close()


@pytest.mark.parametrize("kind", list(Kind))
def test_a_collector_that_takes_nothing_is_not_waited_for(
    place: Path, kind: Kind
) -> None:
    socket_kind = {
        Kind.DATAGRAM: socket.SOCK_DGRAM,
        Kind.STREAM: socket.SOCK_STREAM,
    }[kind]
    sink = SocketSink(place, kind=kind)

    def flood() -> None:
        while True:
            sink.send(b"x" * 10_000)

    with _listener(place, socket_kind), pytest.raises(TimeoutError):
        flood()
    sink.close()


def test_a_collector_that_comes_back_is_found_again(place: Path) -> None:
    sink = SocketSink(place, kind=Kind.STREAM)
    with _listener(place, socket.SOCK_STREAM) as listener:
        sink.send(b"one")
        listener.accept()[0].close()
    with pytest.raises(OSError, match=r"pipe|refused|reset"):
        sink.send(b"lost")
    place.unlink()
    with _listener(place, socket.SOCK_STREAM) as listener:
        sink.send(b"two")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(99) == b"two\n"
    sink.close()
