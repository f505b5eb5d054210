"""What engines say of themselves, collected when somebody asks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.metrics.names import MODEL, PREFIX


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How full one engine is, and what it did since its process began.

    Attributes:
        running: Requests that are computed.
        waiting: Requests that hold a place and wait.
        cells: Cells of its cache.
        cells_used: Those that hold a token.
        prompt_tokens: Tokens of prompts that were looked up in what is kept.
        reused_tokens: Those of them that need not be computed.
        preemptions: Requests that had to be put back.
        interruptions: Batches that were given up for a newcomer.
    """

    running: int
    waiting: int
    cells: int
    cells_used: int
    prompt_tokens: int
    reused_tokens: int
    preemptions: int
    interruptions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSample:
    """One loaded model at one moment.

    Attributes:
        model: Its name.
        restarts: How often its process was started again.
        planned_bytes: Memory that was set aside for it.
        work: What it does; None if it is down or did not say so in time.
    """

    model: str
    restarts: int
    planned_bytes: int
    work: Work | None


class EngineCollector(Collector):
    """Turns the newest samples into metrics."""

    def __init__(self) -> None:
        self.samples: tuple[EngineSample, ...] = ()

    def collect(self) -> Iterable[Metric]:
        """Yield every metric; an engine that is down has no gauges but its own."""
        yield from self._of_every_engine()
        yield from self._of_working_engines()

    def _of_every_engine(self) -> Iterator[Metric]:
        up = _gauge("engine_up", "Whether an engine answers.")
        planned = _gauge("engine_memory_plan_bytes", "Memory set aside for an engine.")
        restarts = _counter("engine_restarts", "Starts of a process after the first.")
        for each in self.samples:
            up.add_metric([each.model], float(each.work is not None))
            planned.add_metric([each.model], each.planned_bytes)
            restarts.add_metric([each.model], each.restarts)
        yield from (up, planned, restarts)

    def _of_working_engines(self) -> Iterator[Metric]:
        running = _gauge("num_requests_running", "Requests that are computed.")
        waiting = _gauge("num_requests_waiting", "Requests that wait.")
        usage = _gauge("kv_cache_usage_perc", "Part of the cells in use, 0 to 1.")
        queries = _counter("prefix_cache_queries", "Prompt tokens looked up.")
        hits = _counter("prefix_cache_hits", "Prompt tokens not computed.")
        preemptions = _counter("num_preemptions", "Requests that were put back.")
        interruptions = _counter(
            "num_interruptions", "Batches that were given up for a newcomer."
        )
        for each in self.samples:
            work = each.work
            if work is None:
                continue
            labels = [each.model]
            running.add_metric(labels, work.running)
            waiting.add_metric(labels, work.waiting)
            usage.add_metric(labels, work.cells_used / work.cells if work.cells else 0)
            queries.add_metric(labels, work.prompt_tokens)
            hits.add_metric(labels, work.reused_tokens)
            preemptions.add_metric(labels, work.preemptions)
            interruptions.add_metric(labels, work.interruptions)
        yield from (running, waiting, usage, queries, hits)
        yield from (preemptions, interruptions)


def _gauge(name: str, words: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}{name}", words, labels=[MODEL])


def _counter(name: str, words: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}{name}", words, labels=[MODEL])
