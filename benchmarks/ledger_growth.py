"""The same questions to a ledger of ten thousand records, and to one of ten million.

One ledger grows, 5,000 records a day. At each size the same is done: a call's two
records made durable, ``audit status``, ``audit prove`` of one record, ``audit export``
of one day and ``audit search`` of one day. The floor is the ledger where it is
smallest: what does not grow with the whole ledger stays near 1.
"""

import datetime as dt
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from appliance import audit_flow, audit_read_flow
from appliance.audit_flow import Asked
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.log.append import append, extend
from appliance.ledger.log.search import Filter
from appliance.ledger.log.status import status
from appliance.ledger.records.events import Draft, timestamp
from benchmarks.measure import Plan, p50
from benchmarks.report import Figure, Result
from bundleformat.trust import fingerprint
from tests.support.ledgers import request, response
from tests.support.publisher import make_root, new_keys
from tests.support.real_host import SMALL_BALLAST

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Records at which the questions are asked. A quick run stops at the second."""

A_DAY = 5_000
"""Records of a day."""

AT_ONCE = 100
"""Records of one commit of a busy server."""

TRIES = 7
"""How often each question is asked; the median counts, and the first is not taken."""

STEP = dt.timedelta(minutes=20)
"""Time between two commits: a day's are over before the next begins."""

BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

PLOT = Path(__file__).resolve().parent / "plots" / "ledger-growth.png"

Question = Callable[["Grown"], None]


class SetClock:
    """A clock that is where the ledger's newest day is."""

    def __init__(self) -> None:
        self.moment = BEGIN

    def now(self) -> dt.datetime:
        """Return where it was set."""
        return self.moment

    def monotonic_ns(self) -> int:
        """Return the same, so that no step is seen."""
        return int((self.moment - BEGIN).total_seconds() * 1e9)


class Grown:
    """A host whose ledger grows day by day."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        self.folder = folder
        home = Home(folder / "home")
        root = make_root(new_keys(), expires=BEGIN + dt.timedelta(days=20_000))
        initialise_trust(home, root, fingerprint=fingerprint(root), clock=self.clock)
        (home.root / "sallyport.toml").write_text(SMALL_BALLAST)
        self.host: OpenHost = open_host(home.root, clock=self.clock)
        self.size = 1
        self._day = BEGIN
        self._names = itertools.count()
        self._places = itertools.count()

    def grow(self, size: int) -> None:
        """Append whole days until there are at least ``size`` records."""
        while self.size < size:
            self._day += dt.timedelta(days=1)
            with self.host.database.begin() as connection:
                for number in range(A_DAY // AT_ONCE):
                    receipts = extend(
                        connection,
                        list(self._drafts(AT_ONCE // 2)),
                        log=self.host.log,
                        keys=self.host.keys,
                        now=self._day + number * STEP,
                    ).receipts
            self.size = receipts[-1].size
        self.clock.moment = self._day + A_DAY // AT_ONCE * STEP
        self.host.guard.refresh_head()

    def _drafts(self, pairs: int) -> Iterator[Draft]:
        for _ in range(pairs):
            name = f"chatcmpl-{next(self._names):024}"
            yield request(name)
            yield response(name, parent=self.size)

    def place(self) -> Path:
        """Return a place for an export."""
        return self.folder / f"out-{next(self._places)}"

    def day(self) -> str:
        """Return a day in the middle."""
        days = (self._day - BEGIN).days
        return (BEGIN + dt.timedelta(days=max(1, days // 2))).date().isoformat()

    def append_pair(self) -> None:
        """Make a call's two records durable."""
        for draft in self._drafts(1):
            with self.host.change() as connection:
                append(
                    connection,
                    [draft],
                    log=self.host.log,
                    keys=self.host.keys,
                    now=self.clock.now(),
                )

    def ask_status(self) -> None:
        """Look at the head, verified."""
        with self.host.look() as connection:
            status(connection)

    def prove(self) -> None:
        """Write what proves one call in the middle."""
        place = self.place()
        audit_flow.prove(self.host, str(self.size // 2), place)
        shutil.rmtree(place)

    def export_day(self) -> None:
        """Write a day's records and what proves them."""
        place, day = self.place(), self.day()
        audit_flow.export_ledger(self.host, place, asked=Asked(start=day, end=day))
        shutil.rmtree(place)

    def search_day(self) -> None:
        """Find the newest of a day's refusals and answers of one team."""
        day = dt.datetime.fromisoformat(self.day()).replace(tzinfo=dt.UTC)
        wanted = Filter(
            event="llm.response",
            team="claims",
            since=timestamp(day),
            until=timestamp(day + dt.timedelta(days=1)),
        )
        audit_read_flow.read_some(self.host, wanted, limit=100, reason="benchmark")


QUESTIONS: Mapping[str, Question] = {
    "a call's two records": Grown.append_pair,
    "audit status": Grown.ask_status,
    "audit prove": Grown.prove,
    "audit export of a day": Grown.export_day,
    "audit search of a day": Grown.search_day,
}


def run(plan: Plan) -> Result:
    """Grow one ledger and ask the same at each size."""
    # matplotlib comes with `.[bench]` alone: missed here, before anything is measured
    from benchmarks.growth_plot import plot_growth  # noqa: PLC0415

    sizes = SIZES[:2] if plan.quick else SIZES
    grown = Grown(plan.scratch)
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    again: list[float] = []
    rates: list[float] = []
    for size in sizes:
        began, before = time.perf_counter(), grown.size
        grown.grow(size)
        rates.append((grown.size - before) / (time.perf_counter() - began))
        for name, question in QUESTIONS.items():
            taken[name].append(_median_s(grown, question))
        status_s = _median_s(grown, Grown.ask_status)
        again.append(status_s / taken["audit status"][-1])
    plot_growth(PLOT, sizes, taken)
    bytes_ = grown.host.home.database.stat().st_size
    return _result(sizes, taken, again=again, rates=rates, bytes_=bytes_)


def _median_s(grown: Grown, question: Question) -> float:
    taken = []
    for _ in range(TRIES + 1):
        before = time.perf_counter()
        question(grown)
        taken.append(time.perf_counter() - before)
    return p50(taken[1:])


def _result(
    sizes: Sequence[int],
    taken: Mapping[str, Sequence[float]],
    *,
    again: Sequence[float],
    rates: Sequence[float],
    bytes_: int,
) -> Result:
    ratios = [
        Figure(name=f"{name}: {size:,} over {sizes[0]:,}", values=(each / values[0],))
        for name, values in taken.items()
        for size, each in zip(sizes[1:], values[1:], strict=True)
    ]
    context = [
        Figure(name=f"{name}: {size:,} records", values=(1000 * each,), unit="ms")
        for name, values in taken.items()
        for size, each in zip(sizes, values, strict=True)
    ]
    context += [
        Figure(name="growing", values=tuple(rates), unit="records/s"),
        Figure(name="the database in the end", values=(bytes_ / 1e6,), unit="MB"),
    ]
    return Result(
        name="ledger_growth",
        title=f"one ledger, from {sizes[0]:,} to {sizes[-1]:,} records",
        ratios=tuple(ratios),
        context=tuple(context),
        noise=Figure(name="noise: status again over itself", values=tuple(again)),
        notes=(
            f"{A_DAY:,} records a day; medians of {TRIES}",
            f"plot: benchmarks/plots/{PLOT.name}",
        ),
    )
