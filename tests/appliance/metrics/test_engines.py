"""What engines say of themselves, as Prometheus' own parser reads it."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from appliance.metrics.engines import EngineCollector, EngineSample, Work

WORK = Work(
    running=3,
    waiting=2,
    cells=200,
    cells_used=50,
    prompt_tokens=70,
    reused_tokens=30,
    preemptions=1,
    interruptions=2,
)


def values(*samples: EngineSample) -> dict[tuple[str, str], float]:
    """Every sample by its name and its model."""
    collector = EngineCollector()
    collector.samples = samples
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    return {
        (each.name.removeprefix("sallyport:"), each.labels["model_name"]): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_a_working_engine_tells_how_full_it_is_and_what_it_did() -> None:
    found = values(EngineSample(model="a", restarts=4, planned_bytes=9, work=WORK))
    assert found == {
        ("engine_up", "a"): 1,
        ("engine_memory_plan_bytes", "a"): 9,
        ("engine_restarts_total", "a"): 4,
        ("num_requests_running", "a"): 3,
        ("num_requests_waiting", "a"): 2,
        ("kv_cache_usage_perc", "a"): 0.25,
        ("prefix_cache_queries_total", "a"): 70,
        ("prefix_cache_hits_total", "a"): 30,
        ("num_preemptions_total", "a"): 1,
        ("num_interruptions_total", "a"): 2,
    }


def test_an_engine_that_is_down_says_nothing_of_its_work() -> None:
    down = EngineSample(model="b", restarts=1, planned_bytes=5, work=None)
    found = values(
        EngineSample(model="a", restarts=0, planned_bytes=9, work=WORK), down
    )
    assert {name for name, model in found if model == "b"} == {
        "engine_up",
        "engine_memory_plan_bytes",
        "engine_restarts_total",
    }
    assert found["engine_up", "b"] == 0
