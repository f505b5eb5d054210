"""One engine process: ``python -m appliance.engine.worker SOCKET_FD PARENT_PID``.

Contains itself before any byte of a model is read, loads the model, and serves
until the gateway's end of the socket closes; the kernel kills it when the
gateway dies without closing. It holds message texts in memory and writes none of
them anywhere: no core dump, no log line, no text of an exception.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from appliance.clock import Clock, SystemClock
from appliance.containment.seccomp import refuse_sockets
from appliance.containment.secrecy import forbid_inspection
from appliance.engine import protocol as wire
from appliance.engine.admission import REHEARSED_TOKENS, Limits, fit, paced
from appliance.engine.llama import Context, Model
from appliance.engine.prompt import Prompter
from appliance.engine.scheduler import Scheduler
from appliance.engine.service import Service
from appliance.engine.template import ChatTemplate
from appliance.errors import EngineUnavailableError
from bundleformat.errors import Error, InternalFaultError

OOM_SCORE = 800
"""How readily the kernel kills this process when memory ends (0 to 1000).

The gateway and the ledger stay at 0: they outlive any model.
"""

REST_WAIT_S = 0.05
"""How long the rest of a frame is waited for once it has begun to arrive.

A long frame fills the socket several times over. Whoever waits behind it would
otherwise wait for as many steps.
"""

_PR_SET_PDEATHSIG = 1
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


def contain(parent_pid: int) -> None:
    """Give up what an engine does not need.

    Raises:
        InternalFaultError: The kernel refuses; the process MUST end then.
        EOFError: The parent is already gone.
    """
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise InternalFaultError("the kernel refuses PR_SET_PDEATHSIG")
    if os.getppid() != parent_pid:
        raise EOFError
    # A host without /proc loses a preference of its OOM killer, not a guarantee.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), "ascii")
    forbid_inspection()
    refuse_sockets()


def load(order: wire.Load, *, clock: Clock) -> tuple[Scheduler, Prompter, Limits]:
    """Return the parts of a service whose model is loaded and warm.

    Raises:
        EngineUnavailableError: The model cannot be served.
        RequestRefusedError: Its chat template does not compile.
    """
    model = Model(*order.model_paths)
    asked = Limits(
        context_tokens=order.context_tokens,
        cells=order.cells,
        sequences=order.sequences,
        batch_tokens=order.batch_tokens,
        queued_requests=order.queued_requests,
        queue_timeout_s=order.queue_timeout_s,
        default_max_tokens=order.default_max_tokens,
    )
    limits = fit(asked, trained_tokens=model.trained_tokens)
    context = Context(
        model,
        cells=limits.cells,
        sequences=limits.sequences,
        batch_tokens=limits.batch_tokens,
        threads=order.threads,
    )
    rehearsal_s = context.rehearse(
        REHEARSED_TOKENS, now_s=lambda: clock.monotonic_ns() / 1e9
    )
    limits = paced(limits, rehearsal_s=rehearsal_s)
    source = model.chat_template
    template = None
    if source is not None:
        template = ChatTemplate(
            source, bos_token=model.bos_token, eos_token=model.eos_token
        )
    prompter = Prompter(model, template=template)
    return Scheduler(context, limits=limits), prompter, limits


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
    clock = SystemClock()
    try:
        scheduler, prompter, limits = load(order, clock=clock)
    except Error as error:
        channel.send(wire.LoadFailed(problem=error.text()))
        return
    channel.send(
        wire.Ready(
            context_tokens=limits.context_tokens,
            cells=limits.cells,
            sequences=limits.sequences,
            batch_tokens=limits.batch_tokens,
            longest_token_bytes=prompter.longest_token_bytes,
        )
    )
    Service(
        channel,
        scheduler=scheduler,
        prompter=prompter,
        limits=limits,
        clock=clock,
    ).run()


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
