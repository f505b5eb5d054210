"""Draws throughput and time to first token against users, as a PNG."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # after its back end is chosen

SERVERS = (("ours", "Sallyport", "o-"), ("theirs", "llama-server", "s--"))
"""Prefix of the figures, name in the legend, and style of each line."""


def plot_users(
    path: Path,
    rounds: Sequence[Mapping[int, Mapping[str, float]]],
    *,
    users: Sequence[int],
    title: str,
) -> None:
    """Write the plot of medians over ``rounds`` to ``path``."""
    figure, (speed, first) = plt.subplots(1, 2, figsize=(10, 4))
    for prefix, label, style in SERVERS:
        speed.plot(users, _medians(rounds, users, prefix), style, label=label)
        values = _medians(rounds, users, f"{prefix}_first_s")
        first.plot(users, values, style, label=label)
    floor = _medians(rounds, users, "floor")
    speed.plot(users, floor, "k:", label="llama-batched-bench, decode only")
    speed.set_ylabel("output tokens per second")
    first.set_ylabel("median seconds to the first token")
    for axes in (speed, first):
        axes.set_xlabel("users at once")
        axes.set_xscale("log", base=2)
        axes.set_xticks(users, [str(each) for each in users])
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _medians(
    rounds: Sequence[Mapping[int, Mapping[str, float]]],
    users: Sequence[int],
    name: str,
) -> list[float]:
    return [statistics.median(each[count][name] for each in rounds) for count in users]
