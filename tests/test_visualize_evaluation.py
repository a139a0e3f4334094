import numpy as np
import pytest
from matplotlib.colors import to_hex

from vidbench import visualize
from vidbench.metrics import wilson_interval


def rows_of(axis) -> list[str]:
    """The names of an axis's rows, the first one above."""
    assert axis.get_ylim()[0] > axis.get_ylim()[1]
    return [label.get_text() for label in axis.get_yticklabels()]


def spans(axis, number: int) -> list[list[float]]:
    """Both ends of the first horizontal lines of an axis."""
    lines = [collection.get_segments()[0] for collection in axis.collections[:number]]
    return [segment[:, 0].tolist() for segment in lines]


def test_claims_show_interval_chance_and_what_was_not_scored():
    row = {"name": "9 of 10, $5", "value": 0.9, "ci95": (0.6, 0.98), "chance": 0.5, "bounds": (0.45, 0.95)}
    (axis,) = visualize.claims([row, row | {"name": "b"}]).axes
    assert rows_of(axis) == [r"9 of 10, \$5", "b"] and spans(axis, 1) == [[60, 98]]
    unscored, value, chance = axis.lines[:3]
    assert unscored.get_xdata() == pytest.approx([45, 95])
    assert value.get_xdata() == [90] and chance.get_xdata() == [50]


def test_classes_stand_worst_first_with_their_counts():
    rows = [
        {"label": "b", "videos": 4, "right": 4, "top1": 1.0, "low": 0.5, "high": 1.0},
        {"label": "a", "videos": 4, "right": 1, "top1": 0.25, "low": 0.05, "high": 0.7},
    ]
    (axis,) = visualize.per_class_bars(rows, overall=0.625, chance=0.5).axes
    assert rows_of(axis) == ["a  1/4", "b  4/4"] and [bar.get_width() for bar in axis.patches] == [25, 100]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["all: 62.5%", "chance: 50.0%"]
    assert axis.collections[0].get_segments()[0][:, 0] == pytest.approx([5, 70])  # the error bar


def test_a_confusion_matrix_says_each_number_and_frames_pairs():
    counts = np.array([[3, 1, 0], [0, 4, 0], [2, 0, 2]])
    (axis,) = visualize.confusion_matrix(counts, ["sit", "stand", "run"], blocks=[("stand", "sit")]).axes
    numbers = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axis.texts}
    assert numbers == {(0, 0): "3", (0, 1): "1", (1, 1): "4", (2, 0): "2", (2, 2): "2"}
    (frame,) = axis.patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((-0.5, -0.5), 2, 2)
    picture = axis.images[0].get_array()
    assert picture[1, 0].tolist() == [1, 1, 1]  # never: white
    assert picture[1, 1, 1] > picture[1, 1, 0] and picture[0, 1, 0] > picture[0, 1, 1]  # right greenish, wrong reddish
    with pytest.raises(ValueError, match="side by side"):
        visualize.confusion_matrix(counts, ["sit", "stand", "run"], blocks=[("sit", "run")])


def test_a_caption_stands_below_its_own_clip():
    clips = np.stack([np.full((3, 20, 60, 3), shade, np.uint8) for shade in (0, 90)])
    shown = visualize.captioned(clips, ["sitting\nsays: x", ""])
    assert shown.shape[:2] == (2, 3) and shown.shape[2] > 40 and shown.shape[3:] == (60, 3) and shown.dtype == np.uint8
    assert (shown[:, :, :20] == clips).all()
    assert shown[0, :, 20:].min() < 60 and (shown[1, :, 20:] == 255).all()
    assert (shown[0, 0, 20:] == shown[0, 2, 20:]).all()  # the words do not move


def test_a_forest_colours_what_leaves_out_the_accuracy_of_all():
    rows = [
        {"condition": "level", "value": value, "videos": 9, "top1": top1, "low": top1 - 0.1, "high": top1 + 0.1}
        for value, top1 in (("0", 0.9), ("1", 0.7), ("2", 0.4))
    ]
    (axis,) = visualize.forest([*rows, rows[0] | {"condition": "light"}], overall=0.7).axes
    assert rows_of(axis)[::3] == ["level: 0  (9)", "light: 0  (9)"]
    assert [line.get_color() for line in axis.lines[:3]] == [visualize.RIGHT, visualize.UNSURE, visualize.WRONG]
    assert spans(axis, 3)[2] == pytest.approx([30, 50])


def test_confidence_is_set_beside_accuracy():
    steps = [{"low": 0.5, "high": 0.6, "videos": 4, "confidence": 0.55, "accuracy": 0.5}]
    left, right = visualize.confidence_curves(steps, np.array([1, 1, 0.5, 0.75])).axes
    assert left.collections[-1].get_offsets().tolist() == [[pytest.approx(55), 50]]
    low, high = left.collections[0].get_segments()[0][:, 1]
    assert (low / 100, high / 100) == pytest.approx(wilson_interval(2, 4))
    assert right.lines[0].get_xdata().tolist() == [25, 50, 75, 100]
    assert right.lines[0].get_ydata().tolist() == [100, 100, 50, 75] and right.get_ylim()[0] < 50


def test_a_line_has_one_look_in_all_panels():
    panels = {
        "order": (["normal", "reversed"], {"all": [0.9, 0.5], "pose": [0.8, 0.8]}),
        "frames": (["16", "8", "4"], {"pose": [0.8, 0.6, 0.4]}),
    }
    figure = visualize.accuracy_lines(panels, chance=0.125)
    first, second = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["order", "frames"]
    assert first.lines[1].get_color() == second.lines[0].get_color() != first.lines[0].get_color()
    assert second.lines[0].get_ydata().tolist() == pytest.approx([80, 60, 40])
    assert [label.get_text() for label in second.get_xticklabels()] == ["16", "8", "4"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "pose"]


def test_areas_of_the_two_by_two_table_are_its_counts():
    (axis,) = visualize.agreement({"both": 16, "only_a": 4, "only_b": 0, "neither": 1}, ("a", "b")).axes
    sides = [patch.get_width() for patch in axis.patches]
    assert sides == pytest.approx([0.9, 0.45, 0, 0.225])
    assert [text.get_text() for text in axis.texts] == ["16", "4", "0", "1"]
    middle = axis.patches[1].get_xy()[0] + sides[1] / 2, axis.patches[1].get_xy()[1] + sides[1] / 2
    assert middle == pytest.approx((1, 0))  # a right, b wrong: above on the right
    assert [label.get_text() for label in axis.get_xticklabels()] == ["b right", "b wrong"]


def test_half_widths_are_marked_and_fall():
    (axis,) = visualize.half_widths(0.71, [64, 19881]).axes
    assert [text.get_text() for text in axis.texts] == ["64 videos: ±10.9", "19,881 videos: ±0.6"]  # FACTS: ±11, ±0.63
    curve = axis.lines[0].get_ydata()
    assert (np.diff(curve) < 0).all() and axis.get_xscale() == axis.get_yscale() == "log"


def test_a_running_accuracy_ends_at_the_accuracy():
    (axis,) = visualize.running_accuracy(np.array([True, False, True, True])).axes
    assert axis.lines[0].get_ydata() == pytest.approx([100, 50, 200 / 3, 75])
    heights = axis.collections[0].get_paths()[0].vertices[:, 1]
    low, high = wilson_interval(1, 1)
    assert heights.min() <= 100 * low + 1e-9 and heights.max() == pytest.approx(100 * high)


def test_accuracy_against_seconds_joins_what_belongs_together():
    ways = (("1 clip", "clips", 0.01, 0.6), ("2 clips", "clips", 0.02, 0.7), ("whole", "one look", 0.01, 0.9))
    rows = [
        {"name": name, "group": group, "seconds": seconds, "top1": top1, "ci95": (top1 - 0.1, top1 + 0.1)}
        for name, group, seconds, top1 in ways
    ]
    (axis,) = visualize.accuracy_against_seconds(rows).axes
    assert [list(line.get_xdata()) for line in axis.lines] == [[0.01, 0.02], [0.01]]
    assert axis.lines[0].get_ydata().tolist() == [60, 70] and axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["1 clip", "2 clips", "whole"]


def test_faults_hang_from_the_right_accuracy():
    rows = [
        {"name": "seen", "top1": 0.5, "ci95": (-0.5, -0.3), "named": True},
        {"name": "unseen", "top1": 0.8, "ci95": (-0.2, 0.05), "named": False},
    ]
    (axis,) = visualize.fault_waterfall(0.9, rows, chance=0.125).axes
    bars = [(bar.get_x(), bar.get_width()) for bar in axis.patches[:2]]
    assert bars == [(90, pytest.approx(-40)), (90, pytest.approx(-10))]
    assert [to_hex(bar.get_facecolor()) for bar in axis.patches[:2]] == [visualize.PLAIN, visualize.WRONG]
    assert [text.get_text() for text in axis.texts] == ["-40.0", "-10.0"] and rows_of(axis) == ["seen", "unseen"]
    assert spans(axis, 1) == [pytest.approx([40, 60])]
