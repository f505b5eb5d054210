"""One engine process: ``python -m appliance.engine.worker SOCKET_FD PARENT_PID``.

Contains itself before any byte of a model is read, loads the model, and serves
until the gateway's end of the socket closes; the kernel kills it when the
gateway dies without closing. It holds message texts in memory and writes none of
them anywhere: no core dump, no log line, no text of an exception.
"""

import socket
import sys
import traceback

from appliance.clock import SystemClock
from appliance.engine import protocol as wire
from appliance.engine.worker.channel import Channel
from appliance.engine.worker.contain import contain
from appliance.engine.worker.load import load
from appliance.errors import EngineUnavailableError
from bundleformat.errors import Error, InternalFaultError


def serve(channel: Channel) -> None:
    """Load the model that the first order names, and serve until the gateway is gone.

    Raises:
        EOFError: The gateway is gone.
        EngineUnavailableError: llama.cpp failed in the middle of its work.
    """
    orders = channel.receive(wait_s=None)
    while not orders:
        orders = channel.receive(wait_s=None)
    order = orders[0]
    if not isinstance(order, wire.Load):
        raise InternalFaultError("the first order does not name a model")
    try:
        service, ready = load(order, channel=channel, clock=SystemClock())
    except Error as error:
        channel.send(wire.LoadFailed(problem=error.text()))
        return
    channel.send(ready)
    service.run()


def main(arguments: list[str]) -> int:
    """Run one engine process and return its exit status."""
    try:
        contain(int(arguments[1]))
        serve(Channel(socket.socket(fileno=int(arguments[0]))))
    except EOFError:
        return 0
    except (EngineUnavailableError, InternalFaultError) as error:
        sys.stderr.write(f"engine: {error.text()}\n")
        return error.exit_status
    except Exception as error:  # noqa: BLE001  # the top of the process: a bug, told without its text
        place = "".join(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"engine: bug: {type(error).__name__}\n{place}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
