"""Whether what is active may have changed, asked once a second.

Whatever changes what is served is on record in the same transaction. So only new
records that are not about requests are a reason to read everything again; and the
time that has passed, because a certificate may have begun to be valid.
"""

from sqlalchemy import bindparam, func, literal_column, select

from appliance.clock import Clock
from appliance.db.session import StandingReader, statement_text
from appliance.db.tables import RecordRow

LOOK_AGAIN_S = 10.0
"""How long nothing is read again without a reason. Unit: seconds."""

_NEWS = statement_text(
    select(
        func.max(RecordRow.seq),
        func.total(RecordRow.event.not_like(literal_column("'llm.%'"))),
    ).where(RecordRow.seq > bindparam("seen"))
)


class News:
    """Remembers up to which record somebody has looked."""

    def __init__(self, lookups: StandingReader, *, clock: Clock) -> None:
        self._lookups = lookups
        self._clock = clock
        self._seen = -1
        self._looked_ns: int | None = None

    def any(self) -> bool:
        """Return whether there is a reason to look; what is new counts as seen.

        Raises:
            StorageFaultError: The database could not be read.
        """
        row = self._lookups.one(_NEWS, self._seen)
        newest, others = (None, 0) if row is None else row
        if newest is not None:
            self._seen = newest
        now_ns = self._clock.monotonic_ns()
        looked_ns = self._looked_ns
        late = looked_ns is None or now_ns - looked_ns >= LOOK_AGAIN_S * 1e9
        if late or others:
            self._looked_ns = now_ns
        return late or others > 0
