"""The engine against the servers that people run today, in one run."""

from benchmarks.engine import (
    fairness,
    long_contexts,
    mixed,
    overload,
    python_servers,
    sharing,
    throughput,
)

ENGINE = {
    "engine_large": throughput.run_large,
    "engine_small": throughput.run_small,
    "engine_sharing": sharing.run,
    "engine_mixed": mixed.run,
    "engine_long_contexts": long_contexts.run,
    "engine_python": python_servers.run,
    "engine_overload": overload.run,
    "engine_fairness": fairness.run,
}
"""Every benchmark of the engine by name; ``engine`` stands for all of them."""
