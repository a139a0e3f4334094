"""Figures of how sure a number is, and how sure a model is of its answers.

Accuracies are fractions, and are shown in percent; intervals are 95 % ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vidbench.metrics import wilson_interval
from vidbench.visualize.style import PLAIN, UNSURE, WRONG, escaped, new_figure

DARK, LIGHT = "#222222", "#dddddd"


def claims(rows: Sequence[Mapping]):
    """Accuracies that look alike: value and interval, chance, and in grey what the unscored videos might make of them.

    rows: `name`, `value`, `ci95`, `chance`, and `bounds`, the accuracy if all unscored videos were wrong, or right.
    """
    figure, (axis,) = new_figure(1, 1, (8.5, 0.55 * len(rows) + 1.2))
    for place, row in enumerate(rows):
        low, high = row["bounds"]
        axis.plot([100 * low, 100 * high], [place, place], color="#bbbbbb", linewidth=9, solid_capstyle="butt")
        draw_interval(axis, place, row["value"], row["ci95"], PLAIN)
        axis.plot(100 * row["chance"], place, "|", color=WRONG, markersize=18, markeredgewidth=2.5)
    axis.plot([], [], color="#bbbbbb", linewidth=9, label="if the unscored were all wrong, all right")
    axis.plot([], [], "o-", color=PLAIN, linewidth=2.5, label="value, 95 % interval")
    axis.plot([], [], "|", color=WRONG, markersize=12, markeredgewidth=2.5, label="chance")
    name_rows(axis, [row["name"] for row in rows])
    axis.set_xlim(0, 100)
    axis.set_xlabel("top-1 accuracy in %")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    return figure


def confidence_curves(steps: Sequence[Mapping], kept: np.ndarray):
    """Left a reliability diagram, right the accuracy that is left when only the surest answers are kept.

    steps: `low`, `high`, `videos`, `confidence`, `accuracy` as `report.classes.calibration` has them; the area of a
    point grows with its videos. kept: (N,) accuracy of the 1, 2, … N surest answers.
    """
    figure, (left, right) = new_figure(1, 2, (9.5, 3.8))
    left.plot([0, 100], [0, 100], "--", color=UNSURE, label="as sure as right")
    for step in steps:
        low, high = wilson_interval(step["accuracy"] * step["videos"], step["videos"])
        left.vlines(100 * step["confidence"], 100 * low, 100 * high, color=PLAIN, linewidth=1.5)
    sizes = [20 + 3 * step["videos"] for step in steps]
    x, y = ([100 * step[name] for step in steps] for name in ("confidence", "accuracy"))
    left.scatter(x, y, sizes, color=PLAIN, zorder=3)
    for step, across, up in zip(steps, x, y, strict=True):
        left.annotate(f"{step['videos']}", (across, up), xytext=(9, -12), textcoords="offset points", fontsize=8)
    left.set(xlim=(0, 102), ylim=(0, 104), xlabel="how sure it was, in %", ylabel="how often it was right, in %")
    left.legend(loc="upper left", fontsize=9)
    right.plot(100 * np.arange(1, len(kept) + 1) / len(kept), 100 * np.asarray(kept), color=PLAIN)
    right.set(xlim=(0, 100), ylim=(min(80.0, 100 * np.min(kept) - 2), 101))
    right.set(xlabel="share of videos answered, surest first, in %", ylabel="accuracy of these, in %")
    return figure


def reliability_curves(panels: Mapping[str, Sequence[Mapping]]):
    """Reliability diagrams side by side: how often answers were right, against how sure they were.

    panels: title → steps of `metrics.reliability`; the area of a point grows with its answers.
    """
    figure, axes = new_figure(1, len(panels), (4.6 * len(panels), 3.8), sharey=True)
    most = max((step["videos"] for steps in panels.values() for step in steps), default=1)
    for axis, (title, steps) in zip(axes, panels.items(), strict=True):
        axis.plot([0, 100], [0, 100], "--", color=UNSURE, label="as sure as right")
        x, y = ([100 * step[name] for step in steps] for name in ("confidence", "accuracy"))
        axis.vlines(x, x, y, color=WRONG, linewidth=2, label="too sure, or not sure enough")
        axis.scatter(x, y, [30 + 220 * step["videos"] / most for step in steps], color=PLAIN, zorder=3)
        axis.set(xlim=(0, 102), ylim=(0, 104), xlabel="how sure it was, in %", title=escaped(title))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("how often it was right, in %")
    axes[0].legend(loc="upper left", fontsize=9, frameon=False)
    return figure


def half_widths(share: float, marks: Sequence[int]):
    """How far an accuracy of `share` may lie from the truth, in points either way, against the number of videos."""
    numbers = np.unique(np.geomspace(10, 10 * max(marks), 200).astype(int))
    halves = {number: _half(share, int(number)) for number in (*numbers, *marks)}
    figure, (axis,) = new_figure(1, 1, (7.5, 3.8))
    axis.loglog(numbers, [halves[number] for number in numbers], color=PLAIN)
    for mark in marks:
        axis.plot(mark, halves[mark], "o", color=WRONG)
        text = f"{mark:,} videos: ±{halves[mark]:.1f}"
        axis.annotate(text, (mark, halves[mark]), xytext=(8, 4), textcoords="offset points", fontsize=10)
    ticks = (0.25, 0.5, 1, 2, 5, 10, 20)
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axis.yaxis.minorticks_off()
    axis.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axis.set_xlabel("videos")
    axis.set_ylabel(f"points either way, at {share:.0%}")
    axis.grid(color=LIGHT, linewidth=0.7)
    return figure


def running_accuracy(hits: np.ndarray):
    """The accuracy after 1, 2, … N videos, in the band of its interval: hits (N,) bool, in the order of scoring."""
    counts = np.arange(1, len(hits) + 1)
    sums = np.cumsum(hits)
    low, high = np.array([wilson_interval(int(total), int(n)) for total, n in zip(sums, counts, strict=True)]).T
    figure, (axis,) = new_figure(1, 1, (7.5, 3.2))
    axis.fill_between(counts, 100 * low, 100 * high, color=PLAIN, alpha=0.25, linewidth=0, label="95 % interval")
    axis.plot(counts, 100 * sums / counts, color=PLAIN, label="accuracy so far")
    axis.axhline(100 * sums[-1] / counts[-1], color=DARK, linestyle=":", label="in the end")
    axis.set(xlim=(1, len(hits)), ylim=(0, 102), xlabel="videos scored", ylabel="top-1 accuracy in %")
    axis.legend(loc="lower right", fontsize=9)
    return figure


def draw_interval(axis, place: int, value: float, ci95: Sequence[float], color: str) -> None:
    """A value (a fraction, shown in percent) and its interval in row `place` of a matplotlib axis."""
    axis.hlines(place, 100 * ci95[0], 100 * ci95[1], color=color, linewidth=2.5, zorder=3)
    axis.plot(100 * value, place, "o", color=color, zorder=4)


def name_rows(axis, names: Sequence[str]) -> None:
    """Name the rows 0, 1, … of a matplotlib axis, the first one above."""
    axis.set_yticks(range(len(names)), [escaped(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", color=LIGHT, linewidth=0.7)
    axis.set_axisbelow(True)


def _half(share: float, number: int) -> float:
    low, high = wilson_interval(share * number, number)
    return 50 * (high - low)
