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
    figure, (axis,) = new_figure(1, 1, (8, 4.5))
    first = {}
    for row in rows:
        base = first.setdefault(row.num_frames, row)
        hits = row.hits if row.hits is not None else row.predicted == base.predicted
        low, high = accuracy_interval(hits, row.groups)
        value, seconds = hits.mean(), row.seconds
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
        axis.annotate(str(row.num_frames), (seconds, value), (5, 5), textcoords="offset points", fontsize=8)
    for name in dict.fromkeys(row.runtime for row in rows):
        axis.plot([], [], MARKERS[name], color="black", label=name)
    for name in dict.fromkeys(row.precision for row in rows):
        axis.plot([], [], "-", color=COLORS[name], linewidth=4, label=name)
    axis.set_xscale("log")
    axis.set_xlabel("seconds a clip (beside each point: its frames)")
    labelled = rows[0].hits is not None
    axis.set_ylabel("top-1, 95 % interval" if labelled else "same class as float32, 95 % interval")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def frontier_figure(rows: Sequence, path: Path) -> None:
    """Write `frontier` to a .png or .svg file."""
    save_figure(frontier(rows), path)
