"""Erasures that are on record and were not carried out to their end.

Between the record and the destruction of keys and texts a process may be killed, the
power cut, or the disk refuse. Nothing is decided a second time then: what records say
is gone is destroyed, by whoever comes first, and needs no approval of its own:

1. a server, when it starts, and while it runs;
2. the next erasure, pruning, or export with texts;
3. ``sallyport audit body finish``.

None of them does it beside a halted ledger: what it says is in doubt then.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from appliance.bodies.vault import Mark, read_mark
from appliance.body_flow import carry_out, to_destroy
from appliance.host import OpenHost
from bundleformat.errors import FaultError

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
"""How often a server looks for what is left. It acts when it finds the same twice, so
that it does not come between a command and its work. Unit: seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """What is on record as gone and not known to be destroyed.

    Attributes:
        calls: Of so many calls.
        first_seq: The first record that says so.
        last_seq: The last one.
    """

    calls: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What was destroyed late: bodies, and of how many calls records said it."""

    calls: int
    bodies: int


def find_unfinished(host: OpenHost) -> Unfinished | None:
    """Return what is left to be destroyed, or None; only reads, and needs no key.

    What was destroyed counts as left until it is known that nothing of it lies in the
    log beside the file of the bodies.

    Raises:
        HostNotReadyError: The file is another release's.
        StorageFaultError: The file or the database cannot be read.
    """
    if not host.home.bodies.exists():
        return None
    mark: Mark | None = read_mark(host.home.bodies)
    with host.look() as connection:
        found = to_destroy(connection, mark)
    if not found:
        return None
    return Unfinished(
        calls=len({each.request_id for each in found}),
        first_seq=found[0].seq,
        last_seq=found[-1].seq,
    )


def finish(host: OpenHost) -> Finished:
    """Destroy what is left, and return what that was.

    Raises:
        AuditUnavailableError: Something is left, and the ledger is halted.
        HostNotReadyError: The key of the bodies is missing.
        StorageFaultError: The disk refused, or somebody reads the file and does not
            let go; what is not done is done when this is called again.
    """
    left = find_unfinished(host)
    if left is None:
        return Finished(calls=0, bodies=0)
    return Finished(calls=left.calls, bodies=carry_out(host))


class Finisher:
    """Has a running server finish what a command was killed over.

    Args:
        host: The host; nothing of it is changed but the file of the bodies.
    """

    def __init__(self, host: OpenHost) -> None:
        self._host = host
        self._seen: Unfinished | None = None
        self._problem = ""

    async def run(self, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again, until cancelled.

        What cannot be done is said in the server's log and tried again: it stops no
        server, and `audit status` tells of it as long as it lasts.
        """
        while True:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Finish what was left at the last look and still is, and say so."""
        try:
            done = self._finish()
        except FaultError as error:
            if error.text() != self._problem:
                self._problem = error.text()
                _log.error("what records say is gone is not destroyed: %s", error)
            return
        self._problem = ""
        if done is not None:
            _log.warning(
                "destroyed what a command left: %d bodies of %d calls",
                done.bodies,
                done.calls,
            )

    def _finish(self) -> Finished | None:
        left = find_unfinished(self._host)
        if left is None or left != self._seen:
            self._seen = left
            return None
        return finish(self._host)
