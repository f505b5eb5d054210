"""How much room the disk of the ledger has, and when that is little.

Little is less than a share of the disk, or less than twice the ballast. It is said
once when it becomes so, and once when it is over.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.ledger.records.events import Draft, Event, Outcome

RELIEF = 20
"""By which part of the limit more must be free before low is over: a twentieth.

Else a disk at the limit would have a record written every second.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Free space and its limit at one moment. Unit: bytes."""

    free_bytes: int
    limit_bytes: int


class RoomWatch:
    """Remembers whether the disk below ``folder`` was low."""

    def __init__(
        self, folder: Path, *, low_percent: int, ballast_bytes: int, low: bool = False
    ) -> None:
        self._folder = folder
        self._low_percent = low_percent
        self._ballast_bytes = ballast_bytes
        self.low = low

    def look(self) -> Room:
        """Return how much room there is now.

        Raises:
            OSError: The disk does not say.
        """
        found = os.statvfs(self._folder)
        share = found.f_blocks * found.f_frsize * self._low_percent // 100
        return Room(
            free_bytes=found.f_bavail * found.f_frsize,
            limit_bytes=max(share, 2 * self._ballast_bytes),
        )

    def follow(self) -> Draft | None:
        """Return the record of a crossing since the last time, if there was one.

        Raises:
            OSError: The disk does not say.
        """
        room = self.look()
        if not self.low and room.free_bytes < room.limit_bytes:
            self.low = True
            return _draft(Event.LOG_LOW, room)
        relieved = room.limit_bytes + room.limit_bytes // RELIEF
        if self.low and room.free_bytes >= relieved:
            self.low = False
            return _draft(Event.LOG_RECOVERED, room)
        return None


def _draft(event: Event, room: Room) -> Draft:
    return Draft(
        event=event,
        outcome=Outcome.OK,
        fields={"free_bytes": room.free_bytes, "limit_bytes": room.limit_bytes},
    )
