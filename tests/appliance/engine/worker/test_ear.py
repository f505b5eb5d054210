"""Orders are heard at once, kept in order, and not without end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from appliance.engine import protocol as wire
from appliance.engine.port import Message, Sampling
from appliance.engine.worker.channel import Channel
from appliance.engine.worker.ear import MOST_HELD_BYTES, Ear
from bundleformat.errors import MalformedError

PATIENCE_S = 10.0

Ends = tuple[socket.socket, Ear, list[wire.Order]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The gateway's end, the ear at the worker's, and what it has heard."""
    ours, theirs = socket.socketpair()
    heard: list[wire.Order] = []
    with ours, theirs:
        yield ours, Ear(Channel(theirs), heard.append), heard
        ours.shutdown(socket.SHUT_RDWR)


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s, "it does not happen"
        time.sleep(0.001)


def starts(*names: str) -> bytes:
    return b"".join(wire.encode(wire.Start(request_id=name)) for name in names)


def names(orders: list[wire.Order]) -> list[str]:
    return [order.request_id for order in orders if isinstance(order, wire.Start)]


def test_orders_are_heard_before_anybody_takes_them(ends: Ends) -> None:
    gateway, ear, heard = ends
    gateway.sendall(starts("a", "b"))
    until(lambda: names(heard) == ["a", "b"])
    gateway.sendall(starts("c"))
    until(lambda: len(heard) == 3)
    assert names(ear.receive(wait_s=0)) == ["a", "b", "c"]
    assert ear.receive(wait_s=0) == []


def test_one_waits_for_an_order_no_longer_than_it_says(ends: Ends) -> None:
    gateway, ear, _ = ends
    assert ear.receive(wait_s=0.01) == []
    threading.Timer(0.05, gateway.sendall, [starts("a")]).start()
    assert names(ear.receive(wait_s=PATIENCE_S)) == ["a"]


def test_what_was_sent_before_the_end_is_still_obeyed(ends: Ends) -> None:
    gateway, ear, heard = ends
    gateway.sendall(starts("a"))
    gateway.shutdown(socket.SHUT_WR)
    until(lambda: bool(heard))
    assert names(ear.receive(wait_s=None)) == ["a"]
    for _ in range(2):
        with pytest.raises(EOFError):
            ear.receive(wait_s=None)


def test_what_is_no_order_is_raised_where_orders_are_taken(ends: Ends) -> None:
    gateway, ear, _ = ends
    gateway.sendall(wire.encode(wire.Refused(request_id="a", problem="b", param=None)))
    with pytest.raises(MalformedError):
        ear.receive(wait_s=None)


def test_no_more_is_read_ahead_than_fits(ends: Ends) -> None:
    gateway, ear, heard = ends
    text = "x" * (MOST_HELD_BYTES // 4)
    order = wire.Prepare(
        request_id="a",
        tenant="t",
        messages=(Message(role="user", content=text),),
        sampling=Sampling(),
    )
    frame = wire.encode(order)
    count = 40
    sender = threading.Thread(target=gateway.sendall, args=[frame * count])
    sender.start()
    time.sleep(0.3)
    assert len(heard) < count, "everything is read although nothing is obeyed"
    taken = 0
    while taken < count:
        orders = ear.receive(wait_s=PATIENCE_S)
        assert orders, "nothing more is read"
        taken += len(orders)
    sender.join()


def test_one_thread_may_write_while_the_other_reads(ends: Ends) -> None:
    gateway, ear, heard = ends
    report = wire.Overloaded(request_id="a", problem="x" * 2**20, retry_after_s=1)
    frame = wire.encode(report)
    sender = threading.Thread(target=ear.send, args=[report])
    sender.start()
    gateway.sendall(starts("a"))
    until(lambda: names(heard) == ["a"])
    received = b""
    while len(received) < len(frame):
        received += gateway.recv(2**16)
    sender.join()
    assert received == frame
