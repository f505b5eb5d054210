"""Draws what each question took against the ledger's size, as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # after its back end is chosen


def plot_growth(
    path: Path, sizes: Sequence[int], taken: Mapping[str, Sequence[float]]
) -> None:
    """Write the plot of ``taken``, in seconds for each of ``sizes``, to ``path``."""
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, values in taken.items():
        axes.plot(sizes, [1000 * each for each in values], "o-", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("records in the ledger")
    axes.set_ylabel("milliseconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
