"""Figures of a search in a long video: how likely each action was, second by second."""

from collections.abc import Mapping, Sequence

import numpy as np

from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, escaped, new_figure

LIGHT = "#bbbbbb"


def score_curves(
    times: np.ndarray,
    scores: np.ndarray,
    smoothed: np.ndarray,
    classes: Sequence[str],
    candidates: Mapping[str, Sequence[tuple[float, float]]],
    threshold: float | None = None,
    damaged: Sequence[tuple[float, float]] = (),
    truth: Mapping[str, Sequence[tuple[float, float]]] | None = None,
):
    """A row a class: its probability in each frame, thin, and smoothed; bars above are the candidates.

    times: (N,) seconds, scores and smoothed: (N, C); candidates: {class: (start, end) seconds}; `truth` likewise, drawn
    as bars below. Stretches that could not be decoded are hatched.
    """
    figure, axes = new_figure(len(classes), 1, (11, 0.5 + 1.15 * len(classes)), sharex=True)
    times, scale, unit = np.asarray(times), *((60, "minutes") if np.max(times, initial=0) > 180 else (1, "seconds"))
    gap = 2.5 * float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    broken = np.flatnonzero(np.diff(times) > gap) + 1  # no line where nothing was seen
    moments = np.insert(times, broken, np.nan) / scale
    for index, (axis, name) in enumerate(zip(axes, classes, strict=True)):
        axis.plot(moments, np.insert(scores[:, index].astype(float), broken, np.nan), color=LIGHT, linewidth=0.7)
        axis.plot(moments, np.insert(smoothed[:, index].astype(float), broken, np.nan), color=PLAIN, linewidth=1.3)
        if threshold is not None:
            axis.axhline(threshold, color=UNSURE, linestyle=":", linewidth=1)
        _bars(axis, candidates.get(name, ()), scale, 1.06, WRONG, "candidate" if index == 0 else None)
        if truth is not None:
            _bars(axis, truth.get(name, ()), scale, -0.2, RIGHT, "truth" if index == 0 else None)
        for start, end in damaged:
            axis.axvspan(start / scale, end / scale, facecolor="none", edgecolor=UNSURE, hatch="////", linewidth=0)
        axis.set(ylim=(-0.25 if truth is not None else -0.05, 1.25), yticks=(0, 0.5, 1))
        axis.set_ylabel(escaped(name).replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9)
    axes[-1].set_xlabel(unit)
    axes[-1].set_xlim(0, max(float(np.max(times, initial=1)), *(end for _, end in damaged), 1) / scale)
    if any(candidates.values()) or truth:
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncols=2, frameon=False, fontsize=9)
    return figure


def candidate_curve(
    times: np.ndarray,
    scores: np.ndarray,
    smoothed: np.ndarray,
    span: tuple[float, float],
    label: str,
    others: Sequence[tuple[float, float]] = (),
    size: tuple[float, float] = (5.4, 2.4),
):
    """How likely one action was all along a video, with the seconds of one candidate marked.

    times: (N,) seconds, scores and smoothed: (N,), of class `label`; span: (start, end) seconds; others: those of the
    video's other candidates of this class, as grey bars. size: inches.
    """
    figure, (axis,) = new_figure(1, 1, size)
    axis.axvspan(*span, color=WRONG, alpha=0.25, linewidth=0)
    axis.plot(times, scores, color=LIGHT, linewidth=0.7)
    axis.plot(times, smoothed, color=PLAIN, linewidth=1.6)
    _bars(axis, [span], 1, 1.06, WRONG, None)
    _bars(axis, others, 1, 1.06, LIGHT, None)
    axis.set(ylim=(-0.04, 1.25), yticks=(0, 0.5, 1), xlim=(0, max(float(np.max(times, initial=1)), span[1])))
    axis.set_title(f"how likely: {escaped(label)}", fontsize=9, loc="left")
    axis.set_xlabel("seconds of the video", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _bars(axis, intervals: Sequence[tuple[float, float]], scale: float, bottom: float, color: str, name: str | None):
    spans = [(start / scale, (end - start) / scale) for start, end in intervals]
    axis.broken_barh(spans, (bottom, 0.14), facecolor=color, edgecolor="white", linewidth=0.8, label=name)
