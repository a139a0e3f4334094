"""Speed and what it costs, as figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidbench.metrics import accuracy_interval
from vidbench.visualize.style import PLAIN, RIGHT, WRONG, new_figure, save_figure

COLORS = {"float32": PLAIN, "bfloat16": RIGHT, "int8": WRONG}
MARKERS = {"tensorflow": "o", "jax": "D", "openvino": "s", "onnxruntime": "^"}


def frontier(rows: Sequence):
    """Top-1 accuracy with its 95 % interval against seconds a clip, a point a variant: up and left is better.

    rows: `vidbench.benchmark.frontier.Row`. Where the videos have no labels, how often the likeliest class is that of
    the first row of the same clip length takes the place of accuracy.
    """
    from matplotlib.ticker import LogLocator  # as in `new_figure`: not when the kit is imported

    figure, (axis,) = new_figure(1, 1, (9, 4.2))
    first, lengths = {}, {row.num_frames for row in rows}
    for row in rows:
        base = first.setdefault(row.num_frames, row)
        hits = row.hits if row.hits is not None else row.predicted == base.predicted
        low, high = (100 * bound for bound in accuracy_interval(hits, row.groups))
        value, seconds = 100 * hits.mean(), 1000 * row.seconds
        axis.errorbar(
            seconds,
            value,
            yerr=np.abs([[value - low], [high - value]]),
            fmt=MARKERS[row.runtime],
            color=COLORS[row.precision],
            markersize=8,
            elinewidth=0.8,
            alpha=0.9,
        )
        if len(lengths) > 1:
            axis.annotate(str(row.num_frames), (seconds, value), (5, 5), textcoords="offset points", fontsize=8)
    for name in dict.fromkeys(row.runtime for row in rows):
        axis.plot([], [], MARKERS[name], color="black", label=name)
    for name in dict.fromkeys(row.precision for row in rows):
        axis.plot([], [], "-", color=COLORS[name], linewidth=4, label=name)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
    axis.xaxis.set_minor_formatter(lambda number, _: "")
    axis.set_xlabel("milliseconds a clip, the model alone" + " (beside each point: its frames)" * (len(lengths) > 1))
    labelled = rows[0].hits is not None
    axis.set_ylabel(("top-1 accuracy" if labelled else "clips with float32's class") + " in %, 95 % interval")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=9)
    return figure


def frontier_figure(rows: Sequence, path: Path) -> None:
    """Write `frontier` to a .png or .svg file."""
    save_figure(frontier(rows), path)
