"""Which conditions hurt: the accuracy of parts of a run, by whatever is known of its videos."""

from collections.abc import Mapping, Sequence

import numpy as np

from vidbench import metrics


def by_condition(hits: np.ndarray, groups: np.ndarray, conditions: Mapping[str, Sequence]) -> list[dict]:
    """A row for each value of each condition: how many of its videos were right, with the 95 % interval.

    hits: (N,) bool. groups: (N,), the recordings, as in `metrics.accuracy_interval`. conditions: name → a value for
    each video; fractional numbers are cut into three parts of as many videos. Rows have condition, value (text),
    videos, top1, low, high. Many rows are many chances to be surprised: one interval of twenty misses the truth.

    >>> rows = by_condition(np.array([True, False]), np.arange(2), {"place": ["park", "gym"]})
    >>> [(row["value"], row["top1"]) for row in rows]
    [('gym', 0.0), ('park', 1.0)]
    """
    rows = []
    for name, values in conditions.items():
        for value, part in _parts(np.asarray(values)):
            low, high = metrics.accuracy_interval(hits[part], groups[part])
            number = {"videos": len(part), "top1": float(hits[part].mean()), "low": low, "high": high}
            rows.append({"condition": name, "value": value, **number})
    return rows


def _parts(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The values in their order, as text, and where they stand; of fractional numbers three ranges."""
    if values.dtype.kind != "f":
        return [(str(value), np.flatnonzero(values == value)) for value in np.unique(values)]
    thirds = np.array_split(np.argsort(values, kind="stable"), 3)
    return [(f"{values[part[0]]:.3g} to {values[part[-1]]:.3g}", part) for part in thirds if len(part)]
