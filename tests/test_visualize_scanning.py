"""Figures of a search in long videos and of how sure its classifier is: what they draw is read from their axes."""

import numpy as np

from vidbench.metrics import reliability
from vidbench.visualize import candidate_curve, reliability_curves


def test_the_curve_marks_the_candidate():
    times = np.arange(0, 20, 0.5)
    figure = candidate_curve(times, np.full(40, 0.2), np.full(40, 0.3), (5, 9), "a $ign", others=[(12, 16)])
    (axis,) = figure.axes
    span = axis.patches[0].get_bbox()
    assert (span.x0, span.x1) == (5, 9) and axis.get_xlim() == (0, 19.5)
    own, others = (bars.get_paths()[0].get_extents() for bars in axis.collections)
    assert (own.x0, own.x1, others.x0, others.x1) == (5, 9, 12, 16)
    assert axis.get_title(loc="left") == r"how likely: a \$ign"


def test_reliability_stands_side_by_side():
    sure = reliability(np.array([0.95, 0.93, 0.42, 0.44]), np.array([True, False, False, False]))
    figure = reliability_curves({"before": sure, "after": sure[:1]})
    left, right = figure.axes
    points = left.collections[1]
    np.testing.assert_allclose(points.get_offsets(), [[43, 0], [94, 50]])
    assert points.get_sizes().tolist() == [250, 250] and len(right.collections[1].get_offsets()) == 1
    gaps = [line[:, 1].tolist() for line in left.collections[0].get_segments()]
    assert np.allclose(gaps, [[43, 0], [94, 50]])  # from as sure to as right
    assert [axis.get_title() for axis in figure.axes] == ["before", "after"]
