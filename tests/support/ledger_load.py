"""Appends to a ledger from many threads until it is killed.

Prints ``ready``, then the number and leaf of each record once its receipt came.
"""

import itertools
import os
import sys
import threading
from pathlib import Path

from appliance.clock import SystemClock
from appliance.db.session import open_database
from appliance.ledger.log.append import Receipt
from appliance.ledger.log.commission import open_ledger
from appliance.ledger.recover import abort_open_requests
from appliance.ledger.writer import LedgerWriter
from tests.support.ledgers import guard_of, request, response

THREADS = 8


def main(home: Path) -> None:
    """Load the ledger in ``home`` until the process dies."""
    engine = open_database(home / "sallyport.db")
    clock = SystemClock()
    with engine.begin() as connection:
        log, keys = open_ledger(connection, key_path=home / "keys" / "ledger.key")
        abort_open_requests(connection, log=log, keys=keys, now=clock.now())
    guard = guard_of(engine, log=log, keys=keys, clock=clock)
    writer = LedgerWriter(engine, log=log, keys=keys, clock=clock, guard=guard)
    os.write(1, b"ready\n")
    names = itertools.count()

    def work() -> None:
        while True:
            name = f"{os.getpid()}-{next(names)}"
            opened = writer.submit(request(name)).result()
            _say(opened)
            _say(writer.submit(response(name, parent=opened.seq)).result())

    for _ in range(THREADS):
        threading.Thread(target=work, daemon=True).start()
    threading.Event().wait()


def _say(receipt: Receipt) -> None:
    # One write below PIPE_BUF is atomic: threads never mix their lines.
    os.write(1, f"{receipt.seq} {receipt.leaf.hex()}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
