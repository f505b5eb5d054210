"""What a flow tells whoever counts; and a ledger whose time is counted."""

from concurrent.futures import Future
from typing import Protocol

from appliance.clock import Clock
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.events import Draft
from appliance.ledger.writer import LedgerWriter


class RequestMeter(Protocol):
    """Measures one accepted request."""

    def runs(self, now_ns: int) -> None:
        """Note that it is its team's turn."""

    def token(self, now_ns: int, *, queued_s: float) -> None:
        """Note that a token came; the engine had kept it waiting ``queued_s``."""

    def ended(
        self, reason: str, *, prompt_tokens: int, completion_tokens: int, now_ns: int
    ) -> None:
        """Note how it ended and what it used."""


class Meter(Protocol):
    """Counts what a server does."""

    def refused(self, reason: str) -> None:
        """Count a request that never began, by the code of its error."""

    def appended(self, seconds: float) -> None:
        """Note how long a record took to become durable."""

    def begin(self, model: str, *, started_ns: int, accepted_ns: int) -> RequestMeter:
        """Measure an accepted request of ``model``."""


class MeteredLedger:
    """Implements ``request_parts.Ledger`` over the server's writer."""

    def __init__(self, writer: LedgerWriter, *, meter: Meter, clock: Clock) -> None:
        self._writer = writer
        self._meter = meter
        self._clock = clock

    def check(self) -> None:
        """Return if records are being taken; raises AuditUnavailableError."""
        self._writer.check()

    async def append(self, draft: Draft) -> Receipt:
        """Return once the record is durable; raises AuditUnavailableError."""
        began_ns = self._clock.monotonic_ns()
        receipt = await self._writer.append(draft)
        self._meter.appended((self._clock.monotonic_ns() - began_ns) / 1e9)
        return receipt

    def submit(self, draft: Draft) -> "Future[Receipt]":
        """Have the record made durable with the next ones, and wait for nothing."""
        return self._writer.submit(draft)
