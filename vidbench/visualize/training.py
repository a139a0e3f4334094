"""Figures of training: what features tell, how learning goes, what it changed, and what comes out.

Accuracies are fractions, and are shown in percent.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from vidbench.metrics import accuracy_interval, ranking
from vidbench.utils import canonical_label
from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, escaped, new_figure

DARK, LIGHT = "#222222", "#dddddd"
MARKS = ((PLAIN, "o"), (WRONG, "s"), (RIGHT, "^"), (DARK, "D"), (UNSURE, "v"), ("#e0a030", "P"))  # by colour and shape


def answers(
    stills: Sequence[np.ndarray], truths: Sequence[str], models: Mapping[str, tuple[np.ndarray, Sequence[str]]], top=3
):
    """A row a clip: a frame (H, W, 3) of it under its true class, and beside it each model's `top` likeliest classes.

    models: {name: (probabilities (N, C), its C classes)}. The bar of the true class is green.
    """
    size = (2.6 + 3.4 * len(models), 0.4 + 1.35 * len(stills))
    figure, axes = new_figure(len(stills), 1 + len(models), size, width_ratios=[1.3, *[1] * len(models)])
    rows = axes.reshape(len(stills), 1 + len(models))
    for number, (still, truth, row) in enumerate(zip(stills, truths, rows, strict=True)):
        row[0].imshow(still)
        row[0].set_title(truth, fontsize=9)
        row[0].set_axis_off()
        for axis, (name, (probabilities, classes)) in zip(row[1:], models.items(), strict=True):
            best = ranking(probabilities[number])[:top]
            right = [canonical_label(classes[index]) == canonical_label(truth) for index in best]
            axis.barh(range(len(best)), probabilities[number][best], color=[RIGHT if hit else PLAIN for hit in right])
            axis.set_yticks(range(len(best)), [escaped(classes[index]) for index in best], fontsize=8)
            axis.set_ylim(top - 0.4, -0.6)
            axis.set_xlim(0, 1)
            if number == 0:
                axis.set_title(name, fontsize=9)
            if number < len(stills) - 1:
                axis.set_xticklabels([])
            else:
                axis.set_xlabel("probability", fontsize=8)
    return figure


def tallies(hits: Mapping[str, np.ndarray], chance: float, groups: Sequence[np.ndarray] | None = None):
    """How many are right: a bar for each {name: (N,) bool}, its 95 % interval, and the count in words.

    groups: for each name, the (N,) recordings that its videos come from, see `accuracy_interval`; None: each its own
    """
    figure, (axis,) = new_figure(1, 1, (8, 0.4 * len(hits) + 1.1))
    for row, hit in enumerate(hits.values()):
        low, high = accuracy_interval(hit, np.arange(len(hit)) if groups is None else groups[row])
        axis.barh(row, 100 * hit.mean(), color=PLAIN, height=0.7)
        axis.hlines(row, 100 * low, 100 * high, color=DARK, linewidth=1.6)
        axis.vlines([100 * low, 100 * high], row - 0.12, row + 0.12, color=DARK, linewidth=1.6)
        axis.text(102, row, f"{hit.sum()} of {len(hit)}: {hit.mean():.0%}", va="center", fontsize=9)
    axis.axvline(100 * chance, color=WRONG, linestyle="--", label=f"chance: {chance:.0%}")
    axis.set_yticks(range(len(hits)), [escaped(name) for name in hits])
    axis.set_ylim(len(hits) - 0.5, -0.5)
    axis.set_xlim(0, 100)
    axis.set_xlabel("right, in %, with the 95 % interval")
    axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def principal_axes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) vectors, N at least 2 → (N, 2) places on the two directions in which they differ most, and the share of
    all variance, (2,), that either shows. Each feature is standardised before; one that never varies counts as 0.

    Principal component analysis; the sign of a direction, which has no meaning, is such that its largest entry is
    positive.
    """
    spread = vectors.std(axis=0, dtype=np.float64)
    standard = (vectors - vectors.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1)
    _, strengths, axes = np.linalg.svd(standard, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return standard @ axes.T, strengths[:2] ** 2 / (strengths**2).sum()


def feature_map(vectors: np.ndarray, labels: np.ndarray, classes: Sequence[str]):
    """(N, D) feature vectors as points, a colour and a shape for each class; labels: (N,) int, places in `classes`."""
    points, shares = principal_axes(vectors)
    figure, (axis,) = new_figure(1, 1, (6.4, 4.2))
    for number, name in enumerate(classes):
        color, marker = MARKS[number % len(MARKS)]
        axis.scatter(*points[labels == number].T, c=color, marker=marker, s=34, alpha=0.85, label=escaped(name))
    axis.set_xlabel(f"first direction: {shares[0]:.0%} of the variance")
    axis.set_ylabel(f"second: {shares[1]:.0%}")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(classes)))
    return figure


def accuracy_against_clips(curve: pd.DataFrame, chance: float):
    """Val accuracy against training clips a class, of the rows of `vidbench.probing.learning_curve`.

    The thin bars reach from the worst to the best draw of so many clips, the band is the 95 % interval.
    """
    figure, (axis,) = new_figure(1, 1, (6.4, 3.4))
    sizes, middle = curve["clips_a_class"], 100 * curve["accuracy"]
    axis.fill_between(sizes, 100 * curve["low"], 100 * curve["high"], color=PLAIN, alpha=0.18, label="95 % interval")
    axis.vlines(sizes, 100 * curve["lowest"], 100 * curve["highest"], color=PLAIN, label="worst to best draw")
    axis.plot(sizes, middle, "o-", color=PLAIN, label="mean of the draws")
    axis.axhline(100 * chance, color=UNSURE, linestyle="--", label="chance")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_xlabel("training clips a class")
    axis.set_ylabel("accuracy in %")
    axis.set_ylim(0, 100)
    axis.legend(fontsize=8, loc="lower right", ncols=2)
    return figure


def fine_tuning_curves(runs: Mapping[str, pd.DataFrame], probe: float, chance: float):
    """Loss on training clips (left) and val accuracy (right) of each epoch, for {name: `History.epochs`}.

    probe: the accuracy of a probe on the same val clips, the line to beat
    """
    figure, (left, right) = new_figure(1, 2, (9.6, 3.6))
    for (name, epochs), (color, marker) in zip(runs.items(), MARKS, strict=False):
        look = {"color": color, "marker": marker, "markersize": 4, "label": name}
        left.plot(epochs["epoch"], epochs["train_loss"], **look)
        right.plot(epochs["epoch"], 100 * epochs["val_top1"], **look)
    right.axhline(100 * probe, color=DARK, label="the probe")
    right.axhline(100 * chance, color=UNSURE, linestyle="--", label="chance")
    left.set_title("training loss (cross-entropy)", fontsize=10)
    right.set_title("val accuracy in %", fontsize=10)
    left.set_ylim(bottom=0)
    right.set_ylim(0, 100)
    for axis in (left, right):
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def weight_changes(runs: Mapping[str, pd.DataFrame]):
    """How far each layer's weights have moved, in percent of their length, for {name: table of `weight_change`}.

    The layers stand in the network's order, from the pixels above to the answer below; one that began anew says so.
    """
    layers = list(next(iter(runs.values()))["layer"])
    figure, (axis,) = new_figure(1, 1, (7.2, 0.3 * len(layers) * max(1, len(runs) / 1.6) + 1.2))
    height = 0.8 / len(runs)
    for number, ((name, table), (color, _)) in enumerate(zip(runs.items(), MARKS, strict=False)):
        places = np.arange(len(layers)) + (number - (len(runs) - 1) / 2) * height
        changes = 100 * table["change"].to_numpy(float)
        axis.barh(places, np.nan_to_num(changes), height * 0.9, color=color, label=name)
        for place, change in zip(places, changes, strict=True):
            axis.annotate(
                "began anew" if np.isnan(change) else f"{change:.0f}", (np.nan_to_num(change), place), (3, 0),
                textcoords="offset points", va="center", fontsize=8, color=color,
            )  # fmt: skip
    axis.set_yticks(range(len(layers)), [escaped(name) for name in layers], fontsize=9)
    axis.set_ylim(len(layers) - 0.5, -0.5)
    axis.margins(x=0.12)
    axis.set_xlabel("change of the weights in % of their length")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(runs))
    return figure


def suspect_ranks(table: pd.DataFrame, planted: Collection[str], most: int = 24):
    """The first `most` rows of `vidbench.probing.suspects`, the most doubtful label first: its probability minus that
    of the class that looks likelier. Red and hatched where the label is known to be wrong, of the ids `planted`.
    """
    shown = table.head(most)
    wrong = shown["video_id"].isin(list(planted)).to_numpy()
    ranks, margins = np.arange(1, len(shown) + 1), shown["margin"].to_numpy(float)
    figure, (axis,) = new_figure(1, 1, (8, 2.8))
    missed = len(set(planted) - set(shown["video_id"]))
    told = f"wrong on purpose: {wrong.sum()}" + (f", and {missed} that are not here" if missed else "")
    axis.bar(ranks[wrong], margins[wrong], color=WRONG, hatch="//", edgecolor="white", label=told)
    axis.bar(ranks[~wrong], margins[~wrong], color=PLAIN, label="as they were")
    axis.set_xlabel("place in the list of suspects")
    axis.set_ylabel("probability of the label\nminus that of another")
    axis.set_ylim(-1.02, 0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, loc="lower right")
    return figure


def same_answer(first: np.ndarray, second: np.ndarray, names: tuple[str, str]):
    """Logits (N, C) of the same clips under two runtimes: each against the other, and how far they are apart.

    Raises ValueError unless both have one shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"logits of the same clips have one shape, got {first.shape} and {second.shape}")
    figure, (left, right) = new_figure(1, 2, (9, 3.6))
    span = [min(first.min(), second.min()), max(first.max(), second.max())]
    left.plot(span, span, color=UNSURE, linewidth=1, label="equal")
    left.plot(first.ravel(), second.ravel(), "o", color=PLAIN, markersize=4, alpha=0.6, label=f"{first.size} logits")
    left.set_xlabel(f"{names[0]}, logit")
    left.set_ylabel(f"{names[1]}, logit")
    left.set_aspect("equal")
    left.legend(frameon=False, fontsize=9)
    difference = np.abs(second.astype(np.float64) - first).ravel()
    right.plot(np.sort(difference)[::-1], ".", color=PLAIN, markersize=5)
    right.set_xlabel("logit, the largest difference first")
    right.set_title(f"difference; the largest is {difference.max():.1e}", fontsize=10)
    right.set_ylim(bottom=0)
    return figure
