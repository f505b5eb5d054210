"""What requests did, as counters and histograms of this process.

A request is measured where its caller is served, so that what the gateway, the
ledger and an engine take is all in it.
"""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from appliance.metrics.names import (
    COMMIT_S,
    FIRST_TOKEN_S,
    MODEL,
    PREFIX,
    REQUEST_S,
    TOKEN_S,
    TOKENS,
)


class Meter:
    """Counts everything that one server does; made once.

    Attributes:
        registry: What is counted, as Prometheus' own library keeps it.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as the library is
        self.registry = CollectorRegistry(auto_describe=True)
        self.first_token = self._histogram(
            "time_to_first_token_seconds",
            "From a request to its first token.",
            steps=FIRST_TOKEN_S,
        )
        self.inter_token = self._histogram(
            "inter_token_latency_seconds", "Between two tokens.", steps=TOKEN_S
        )
        self.whole = self._histogram(
            "e2e_request_latency_seconds",
            "From a request to its end.",
            steps=REQUEST_S,
        )
        self.queued = self._histogram(
            "request_queue_time_seconds",
            "From acceptance until it runs.",
            steps=REQUEST_S,
        )
        self.prefill = self._histogram(
            "request_prefill_time_seconds",
            "From running to the first token.",
            steps=REQUEST_S,
        )
        self.decode = self._histogram(
            "request_decode_time_seconds",
            "From the first token to the end.",
            steps=REQUEST_S,
        )
        self.prompt_size = self._histogram(
            "request_prompt_tokens", "Tokens of a prompt.", steps=TOKENS
        )
        self.answer_size = self._histogram(
            "request_generation_tokens", "Tokens of an answer.", steps=TOKENS
        )
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts.")
        self.answer_tokens = self._counter("generation_tokens", "Tokens of answers.")
        self.ended = self._counter(
            "request_success", "Requests by how they ended.", "finished_reason"
        )
        self._refused = Counter(
            f"{PREFIX}admission_rejections",
            "Requests that never began.",
            ["reason"],
            registry=self.registry,
        )
        self._append = Histogram(
            f"{PREFIX}ledger_append_seconds",
            "Until a record is durable.",
            registry=self.registry,
            buckets=COMMIT_S,
        )

    def follow_ledger(self, state: Callable[[], float]) -> None:
        """Tell how the ledger is: 0 it is well, 1 its disk is low, 2 it is halted."""
        gauge = Gauge(
            f"{PREFIX}ledger_state",
            "The ledger: 0 is OK, 1 LOW, 2 HALTED.",
            registry=self.registry,
        )
        gauge.set_function(state)

    def refused(self, reason: str) -> None:
        """Count a request that never began, by the code of its error."""
        self._refused.labels(reason).inc()

    def appended(self, seconds: float) -> None:
        """Note how long a record took to become durable."""
        self._append.observe(seconds)

    def begin(self, model: str, *, started_ns: int, accepted_ns: int) -> "RequestMeter":
        """Measure an accepted request of ``model``."""
        return RequestMeter(self, model, started_ns=started_ns, accepted_ns=accepted_ns)

    def _histogram(
        self, name: str, words: str, *, steps: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"{PREFIX}{name}", words, [MODEL], registry=self.registry, buckets=steps
        )

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(
            f"{PREFIX}{name}", words, [MODEL, *labels], registry=self.registry
        )


class RequestMeter:
    """Measures one accepted request, from there to its end."""

    def __init__(
        self, meter: Meter, model: str, *, started_ns: int, accepted_ns: int
    ) -> None:
        self._meter = meter
        self._model = model
        self._started_ns = started_ns
        self._accepted_ns = accepted_ns
        self._runs_ns = accepted_ns
        self._first_ns: int | None = None
        self._last_ns = 0
        self._between = meter.inter_token.labels(model)

    def runs(self, now_ns: int) -> None:
        """Note that it is its team's turn."""
        self._runs_ns = now_ns

    def token(self, now_ns: int, *, queued_s: float) -> None:
        """Note that a token came; the engine had kept it waiting ``queued_s``."""
        if self._first_ns is not None:
            self._between.observe((now_ns - self._last_ns) / 1e9)
            self._last_ns = now_ns
            return
        self._first_ns = self._last_ns = now_ns
        meter, model = self._meter, self._model
        turn_s = (self._runs_ns - self._accepted_ns) / 1e9
        meter.first_token.labels(model).observe((now_ns - self._started_ns) / 1e9)
        meter.queued.labels(model).observe(turn_s + queued_s)
        prefill_s = max(0.0, (now_ns - self._runs_ns) / 1e9 - queued_s)
        meter.prefill.labels(model).observe(prefill_s)

    def ended(
        self, reason: str, *, prompt_tokens: int, completion_tokens: int, now_ns: int
    ) -> None:
        """Note how it ended and what it used."""
        meter, model = self._meter, self._model
        meter.ended.labels(model, reason).inc()
        meter.whole.labels(model).observe((now_ns - self._started_ns) / 1e9)
        if self._first_ns is not None:
            meter.decode.labels(model).observe((now_ns - self._first_ns) / 1e9)
        meter.prompt_size.labels(model).observe(prompt_tokens)
        meter.answer_size.labels(model).observe(completion_tokens)
        meter.prompt_tokens.labels(model).inc(prompt_tokens)
        meter.answer_tokens.labels(model).inc(completion_tokens)
