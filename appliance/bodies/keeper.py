"""Has bodies made durable by one thread, together with all that wait meanwhile.

After a failure the file is opened anew: nothing is retried on a connection that
failed. What could not be kept is told to whoever asked, who then refuses.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from appliance.bodies.vault import Body, Vault
from appliance.clock import Clock
from appliance.errors import BodiesUnavailableError
from bundleformat.errors import Error

_log = logging.getLogger(__name__)


class BodyKeeper:
    """Keeps the bodies of one server.

    Args:
        open_vault: Opens the file; called when there is a first body for it.
        clock: Tells the month.
    """

    def __init__(self, open_vault: Callable[[], Vault], *, clock: Clock) -> None:
        self._open_vault = open_vault
        self._clock = clock
        self._vault: Vault | None = None
        self._waiting: list[tuple[Body, Future[None]]] = []
        self._gate = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")

    async def keep(self, body: Body) -> None:
        """Return when ``body`` is durable.

        A caller that is cancelled may leave a body without a record, which the next
        start removes.

        Raises:
            BodiesUnavailableError: It is not, and will not be.
        """
        future: Future[None] = Future()
        with self._gate:
            self._waiting.append((body, future))
        self._thread.submit(self._write)
        await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._thread.shutdown()
        self._drop()

    def _write(self) -> None:
        with self._gate:
            group, self._waiting = self._waiting, []
        if not group:
            return
        try:
            if self._vault is None:
                self._vault = self._open_vault()
            self._vault.put([body for body, _ in group], now=self._clock.now())
        except Error as error:
            _log.error("bodies cannot be kept: %s", error)
            self._drop()
            self._fail(group, BodiesUnavailableError("a body cannot be kept"))
        except BaseException as error:
            self._drop()
            self._fail(group, error)
            raise
        else:
            for _, future in group:
                future.set_result(None)

    @staticmethod
    def _fail(group: list[tuple[Body, Future[None]]], error: BaseException) -> None:
        for _, future in group:
            future.set_exception(error)

    def _drop(self) -> None:
        vault, self._vault = self._vault, None
        if vault is not None:
            vault.close()
