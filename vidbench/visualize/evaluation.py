"""Figures of an evaluation: where its errors lie, and what changes them.

Accuracies are fractions, and are shown in percent; intervals are 95 % ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vidbench.visualize.certainty import DARK, LIGHT, draw_interval, name_rows
from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, escaped, new_figure

LINES = ((DARK, "o"), (PLAIN, "s"), (WRONG, "^"), (RIGHT, "D"), (UNSURE, "v"))  # told apart by marker, too
PAPER = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
OUTLINE = {"fill": False, "edgecolor": DARK, "linewidth": 2}


def per_class_bars(rows: Sequence[Mapping], overall: float, chance: float):
    """Bars of the classes' accuracies with their intervals, worst first; lines at the accuracy of all and at chance.

    rows: `label`, `videos`, `right`, `top1`, `low`, `high`, as `report.classes.per_class` has them.
    """
    rows = sorted(rows, key=lambda row: (row["top1"], row["label"]))
    figure, (axis,) = new_figure(1, 1, (8, 0.4 * len(rows) + 1.1))
    values = np.array([row["top1"] for row in rows])
    spans = 100 * np.abs(np.array([[row["low"], row["high"]] for row in rows]).T - values)
    axis.barh(range(len(rows)), 100 * values, xerr=spans, color=PLAIN, ecolor=DARK, capsize=3)
    name_rows(axis, [f"{row['label']}  {row['right']}/{row['videos']}" for row in rows])
    axis.axvline(100 * overall, color=DARK, linewidth=1.5, label=f"all: {overall:.1%}")
    axis.axvline(100 * chance, color=WRONG, linestyle="--", label=f"chance: {chance:.1%}")
    axis.set_xlim(0, 100)
    axis.set_xlabel("top-1 accuracy in %, 95 % interval")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    return figure


def confusion_matrix(counts: np.ndarray, labels: Sequence[str], blocks: Sequence[Sequence[str]] = ()):
    """How often videos of a row's class were taken for a column's: right answers green, wrong ones red.

    counts: (C, C) int, both ways in the order of `labels`. blocks: labels that stand side by side in it and belong
    together; a frame is drawn around each. Raises ValueError where they do not stand side by side.
    """
    counts, labels = np.asarray(counts), list(labels)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    inks = np.where(np.eye(len(labels), dtype=bool)[..., None], _rgb(RIGHT), _rgb(WRONG))
    figure, (axis,) = new_figure(1, 1, (0.62 * len(labels) + 2.6, 0.5 * len(labels) + 2.4))
    strength = np.where(np.eye(len(labels), dtype=bool), 0.75 * shares, np.sqrt(shares))[..., None]  # few errors show
    axis.imshow(1 - strength * (1 - inks), aspect="auto")
    for (row, column), number in np.ndenumerate(counts):
        if number:
            axis.text(column, row, number, ha="center", va="center", color=DARK, fontsize=10)
    for block in blocks:
        places = sorted(labels.index(name) for name in block)
        if places != list(range(places[0], places[0] + len(places))):
            raise ValueError(f"{', '.join(block)} do not stand side by side")
        edge = (places[0] - 0.5, places[0] - 0.5)
        axis.add_patch(_frame(edge, len(places)))
    axis.set_xticks(range(len(labels)), list(map(escaped, labels)), rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(labels)), list(map(escaped, labels)))
    axis.set_xlabel("the model's answer")
    axis.set_ylabel("what it is")
    return figure


def forest(rows: Sequence[Mapping], overall: float):
    """The accuracy of parts of the videos, one line a part: those whose interval leaves out `overall` are coloured.

    rows: `condition`, `value`, `videos`, `top1`, `low`, `high`, as `report.conditions.by_condition` has them.
    """
    figure, (axis,) = new_figure(1, 1, (8, 0.3 * len(rows) + 1.1))
    for place, row in enumerate(rows):
        color = WRONG if row["high"] < overall else RIGHT if row["low"] > overall else UNSURE
        draw_interval(axis, place, row["top1"], (row["low"], row["high"]), color)
        if place and row["condition"] != rows[place - 1]["condition"]:
            axis.axhline(place - 0.5, color=LIGHT)
    name_rows(axis, [f"{row['condition']}: {row['value']}  ({row['videos']})" for row in rows])
    axis.axvline(100 * overall, color=DARK, linewidth=1, zorder=0)
    axis.set_xlim(right=100)
    axis.set_xlabel(f"top-1 accuracy in %, 95 % interval; the line: all videos, {overall:.1%}")
    return figure


def accuracy_lines(panels: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[float]]]], chance: float):
    """Accuracies against what was done to the clips: a panel a question, a line a group of videos or a model.

    panels: title → (names of the changes, {name of the line: an accuracy a change}).
    """
    figure, axes = new_figure(1, len(panels), (3.6 * len(panels), 3.6), sharey=True)
    names = list(dict.fromkeys(name for _, lines in panels.values() for name in lines))
    for axis, (title, (changes, lines)) in zip(axes, panels.items(), strict=True):
        for name, values in lines.items():
            color, marker = LINES[names.index(name) % len(LINES)]
            axis.plot(range(len(changes)), 100 * np.asarray(values), marker=marker, color=color, label=name)
        axis.axhline(100 * chance, color=UNSURE, linestyle="--", linewidth=1)
        axis.set_xticks(range(len(changes)), changes, rotation=30, ha="right", rotation_mode="anchor")
        axis.set_title(title, fontsize=10)
        axis.grid(axis="y", color=LIGHT, linewidth=0.7)
    axes[0].set_ylim(0, 103)
    axes[0].set_ylabel("top-1 accuracy in %")
    handles = {text: line for axis in axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(handles), frameon=False)
    return figure


def agreement(counts: Mapping[str, int], names: tuple[str, str]):
    """The 2 × 2 table of two models on the same videos: squares whose areas are the counts of `metrics.two_by_two`."""
    cells = (("both", 0, 0, UNSURE), ("only_a", 1, 0, RIGHT), ("only_b", 0, 1, WRONG), ("neither", 1, 1, LIGHT))
    most = max(counts[name] for name, *_ in cells) or 1
    figure, (axis,) = new_figure(1, 1, (4.4, 3.8))
    for name, across, down, color in cells:
        side = 0.9 * np.sqrt(counts[name] / most)
        axis.add_patch(_frame((across - side / 2, down - side / 2), side, facecolor=color, edgecolor="none"))
        axis.text(across, down, counts[name], ha="center", va="center", fontsize=13, color=DARK, bbox=PAPER)
    axis.set(xlim=(-0.55, 1.55), ylim=(1.55, -0.55), aspect="equal")
    axis.set_xticks([0, 1], [f"{escaped(names[1])} {end}" for end in ("right", "wrong")])
    axis.set_yticks([0, 1], [f"{escaped(names[0])}\n{end}" for end in ("right", "wrong")])
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    return figure


def accuracy_against_seconds(rows: Sequence[Mapping]):
    """What an accuracy costs: a point a way to score, with its interval.

    rows: `name`, `group` (ways that belong together share it, a line and a colour), `seconds` a video, `top1`, `ci95`.
    """
    from matplotlib.ticker import LogLocator  # as in `new_figure`: not when the kit is imported

    figure, (axis,) = new_figure(1, 1, (8, 4.2))
    for place, group in enumerate(dict.fromkeys(row["group"] for row in rows)):
        color, marker = LINES[(place + 1) % len(LINES)]
        members = [row for row in rows if row["group"] == group]
        seconds, values = ([row[name] for row in members] for name in ("seconds", "top1"))
        for row in members:
            axis.vlines(row["seconds"], *(100 * np.array(row["ci95"])), color=color, alpha=0.4)
            beside = {"xytext": (-7, 6), "ha": "right"} if place else {"xytext": (7, -13)}  # off each other's points
            beside |= {"textcoords": "offset points", "fontsize": 9}
            axis.annotate(escaped(row["name"]), (row["seconds"], 100 * row["top1"]), **beside)
        axis.plot(seconds, 100 * np.array(values), marker=marker, color=color, label=group)
    axis.set_xlabel("seconds a video, the model alone")
    axis.set_ylabel("top-1 accuracy in %")
    seconds = [row["seconds"] for row in rows]
    axis.set_xscale("log")
    axis.set_xlim(0.5 * min(seconds), 1.4 * max(seconds))
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
    axis.xaxis.set_minor_formatter(lambda number, _: "")
    axis.set_ylim(0, 102)
    axis.grid(color=LIGHT, linewidth=0.7)
    axis.legend(loc="lower right", fontsize=9)
    return figure


def fault_waterfall(baseline: float, rows: Sequence[Mapping], chance: float):
    """What single mistakes take away: bars that hang from the right accuracy, blue where something names the mistake.

    rows: `name`, `top1`, `ci95` of the difference to `baseline` (negative: lost), `named`.
    """
    figure, (axis,) = new_figure(1, 1, (9, 0.46 * len(rows) + 1.3))
    for place, row in enumerate(rows):
        color = PLAIN if row["named"] else WRONG
        axis.barh(place, 100 * (row["top1"] - baseline), left=100 * baseline, color=color, height=0.62)
        axis.hlines(place, *(100 * max(0.0, baseline + bound) for bound in row["ci95"]), color=DARK, linewidth=1.5)
        points = f"{100 * (row['top1'] - baseline):+.1f}"
        end = 100 * (baseline + max(0.0, *row["ci95"])) + 1
        axis.text(end, place, points, va="center", fontsize=10)
    name_rows(axis, [row["name"] for row in rows])
    axis.axvline(100 * baseline, color=DARK, linewidth=1.2)
    axis.axvline(100 * chance, color=UNSURE, linestyle="--", linewidth=1, label=f"chance: {chance:.1%}")
    for color, text in ((PLAIN, "the verdict names it"), (WRONG, "nothing names it")):
        axis.barh(0, 0, color=color, label=text)
    axis.set_xlim(0, 108)
    axis.set_xlabel("top-1 accuracy in %, and the points lost, with the paired 95 % interval")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    return figure


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def _frame(corner: tuple[float, float], side: float, **look):
    from matplotlib.patches import Rectangle  # not when the kit is imported

    return Rectangle(corner, side, side, **(look or OUTLINE))
