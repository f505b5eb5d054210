"""``python -m benchmarks.null_ledger``: the program, but calls leave no records.

What a ledger costs is measured against a server that has none. There is no way to
make the product serve so; this puts another writer in the place of its own, which
answers at once for the records of calls and writes every other.
"""

import sys
from concurrent.futures import Future

from appliance import compose
from appliance.cli import program
from appliance.ledger.log.append import OF_A_REQUEST, Receipt
from appliance.ledger.records.events import Draft, Event
from appliance.ledger.writer import LedgerWriter

UNWRITTEN = frozenset({*OF_A_REQUEST, Event.LLM_REFUSED})
"""The records that are not made."""


class NullLedger(LedgerWriter):
    """A writer that forgets what calls do."""

    async def append(self, draft: Draft) -> Receipt:
        """Return at once, as if the record were durable; of a call there is none."""
        if draft.event in UNWRITTEN:
            return _receipt()
        return await super().append(draft)

    def submit(self, draft: Draft) -> "Future[Receipt]":
        """Return what is done already; of a call there is no record."""
        if draft.event not in UNWRITTEN:
            return super().submit(draft)
        done: Future[Receipt] = Future()
        done.set_result(_receipt())
        return done


def _receipt() -> Receipt:
    return Receipt(seq=0, leaf=bytes(32), size=1, root=bytes(32))


if __name__ == "__main__":
    setattr(compose, LedgerWriter.__name__, NullLedger)
    sys.exit(program())
