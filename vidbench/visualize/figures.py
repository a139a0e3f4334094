"""Figures of clips, of data sets and of what models say of them."""

from collections.abc import Sequence

import numpy as np

from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, new_figure


def film_strip(frames: np.ndarray, times: np.ndarray, columns: int = 8):
    """A figure of `columns` frames, evenly chosen of (T, H, W, 3), each under its time in seconds."""
    picked = np.linspace(0, len(frames) - 1, columns).round().astype(int)
    figure, axes = new_figure(1, columns, (1.6 * columns, 1.6))
    for axis, index in zip(axes, picked, strict=True):
        axis.imshow(frames[index])
        axis.set_title(f"{times[index]:.2f} s", fontsize=9)
        axis.set_axis_off()
    return figure


def class_bars(labels: Sequence[str]):
    """A figure of how many of `labels` each class has."""
    names, counts = np.unique(list(labels), return_counts=True)
    figure, (axis,) = new_figure(1, 1, (6, 0.32 * len(names) + 0.8))
    axis.barh(names, counts, color=PLAIN)
    axis.invert_yaxis()
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("videos")
    return figure


def frame_choice(num_frames: int, indices: np.ndarray):
    """A time line of a video's frames: those that `indices` takes once, more than once, or leaves out."""
    figure, (axis,) = new_figure(1, 1, (9, 1.5))
    draw_time_line(axis, num_frames, indices)
    return figure


def draw_time_line(axis, num_frames: int, indices: np.ndarray) -> None:
    """The time line of `frame_choice` on an axis of one's own."""
    taken = np.bincount(indices, minlength=num_frames)
    for times, color, name in ((0, "#cccccc", "left out"), (1, PLAIN, "taken"), (2, WRONG, "taken more than once")):
        places = np.flatnonzero(taken >= 2 if times == 2 else taken == times)
        axis.vlines(places, 0, 1 if times else 0.5, color=color, linewidth=2, label=f"{name}: {len(places)}")
    axis.set_yticks([])
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(f"frame of {num_frames}, {len(indices)} wanted")
    axis.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)


def probability_bars(frame: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], truth: str | None = None):
    """A frame (H, W, 3) beside bars of its classes' probabilities, likeliest first; the true one in green."""
    figure, (left, right) = new_figure(1, 2, (9, 0.3 * len(labels) + 1))
    left.imshow(frame)
    left.set_axis_off()
    right.barh(list(labels), probabilities, color=[RIGHT if name == truth else PLAIN for name in labels])
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("probability")
    return figure


def accuracy_bars(names: Sequence[str], values: Sequence[float], intervals: Sequence[tuple], chance: float):
    """Accuracies (fractions) with their 95 % intervals, and the level of chance as a dashed line."""
    figure, (axis,) = new_figure(1, 1, (7, 0.4 * len(names) + 0.9))
    spans = np.abs(np.array(intervals).T - np.array(values))
    axis.barh(list(names), values, xerr=spans, color=PLAIN, ecolor="#222222", capsize=3)
    axis.axvline(chance, color=WRONG, linestyle="--", label=f"chance: {chance:.1%}")
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("top-1 accuracy, 95 % interval")
    axis.legend(loc="lower right", fontsize=9)
    return figure


def learning_curves(rows: Sequence[dict], chance: float | None = None):
    """Loss and top-1 accuracy of train and val against epochs, of the rows of `history.csv`; the best one is marked."""
    epochs = [int(row["epoch"]) for row in rows]
    figure, axes = new_figure(1, 2, (9, 3.2))
    for axis, name, title in zip(axes, ("loss", "top1"), ("cross-entropy", "top-1 accuracy"), strict=True):
        for split, color, marker in (("train", PLAIN, "o"), ("val", WRONG, "s")):
            values = [float(row[f"{split}_{name}"]) for row in rows]
            axis.plot(epochs, values, color=color, marker=marker, markersize=3, label=split)
        axis.set_xlabel("epoch")
        axis.set_title(title, fontsize=10)
        axis.xaxis.get_major_locator().set_params(integer=True)
    best = max(rows, key=lambda row: (float(row["val_top1"]), -float(row["val_loss"])))
    axes[1].axvline(int(best["epoch"]), color=RIGHT, linestyle=":", label=f"best: {float(best['val_top1']):.1%}")
    if chance is not None:
        axes[1].axhline(chance, color="#888888", linestyle="--", label=f"chance: {chance:.1%}")
    axes[1].set_ylim(0, 1)
    axes[1].legend(fontsize=8)
    return figure


def comparison(runs: Sequence[dict], pairs: Sequence[dict]):
    """Accuracies of runs above, paired differences below, each with its 95 % interval; a line at no difference.

    runs: `name`, `value` and `ci95` (fractions); pairs: `name`, `difference` and `ci95`. A difference whose interval
    holds zero is grey, others are green where the first run is better, else red.
    """
    width = 5 + 0.08 * max(len(row["name"]) for row in (*runs, *pairs))
    height = 0.38 * (len(runs) + len(pairs)) + 1.6
    figure, axes = new_figure(2, 1, (width, height), height_ratios=[len(runs), len(pairs)])
    _spans(axes[0], [run["name"] for run in runs], [(run["value"], run["ci95"], PLAIN) for run in runs])
    axes[0].set_xlabel("top-1 accuracy in %, 95 % interval")
    colors = [RIGHT if pair["ci95"][0] > 0 else WRONG if pair["ci95"][1] < 0 else UNSURE for pair in pairs]
    marks = [(pair["difference"], pair["ci95"], color) for pair, color in zip(pairs, colors, strict=True)]
    _spans(axes[1], [pair["name"] for pair in pairs], marks)
    axes[1].axvline(0, color="#222222", linewidth=1, zorder=0)
    axes[1].set_xlabel("difference in points, paired 95 % interval")
    return figure


def _spans(axis, names: Sequence[str], marks: Sequence[tuple[float, tuple[float, float], str]]) -> None:
    """One row a mark: its value (a fraction, shown in %), its interval and its colour."""
    for row, (value, (low, high), color) in enumerate(marks):
        axis.hlines(row, 100 * low, 100 * high, color=color, linewidth=2.5)
        axis.plot(100 * value, row, "o", color=color)
    axis.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])  # $ would begin a formula
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", color="#dddddd", linewidth=0.7)
    axis.set_axisbelow(True)
