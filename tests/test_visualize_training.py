import numpy as np
import pandas as pd
import pytest
from conftest import moving_square

from vidbench import visualize


def test_a_caption_stands_below_its_clip_and_leaves_its_pixels_alone():
    clips = np.stack([moving_square(3, 24, 64), moving_square(3, 24, 64)[::-1]])
    shown = visualize.captioned(clips, ["one", "two\nlines"])
    assert np.array_equal(shown[:, :, :24], clips) and shown.shape[2] > 24
    below = shown[:, :, 24:]
    assert (below == 255).any() and (below < 100).any() and not np.array_equal(below[0], below[1])


def test_answers_name_the_likeliest_classes_first_and_the_true_one_in_green():
    frame = moving_square(1)[0]
    models = {
        "before": (np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]]), ("Walk", "run", "sit")),
        "after": (np.array([[0.9, 0.1], [0.2, 0.8]]), ("walk", "a$b$")),
    }
    figure = visualize.answers([frame, frame], ["walk", "jump"], models, top=2)
    still, before, after, _, last, both = figure.axes
    assert still.get_title() == "walk" and before.get_title() == "before" and last.get_title() == ""
    assert [label.get_text() for label in before.get_yticklabels()] == ["run", "sit"]
    assert [bar.get_width() for bar in after.patches] == [0.9, 0.1]
    green, other = (bar.get_facecolor() for bar in after.patches)
    assert green != other and {bar.get_facecolor() for bar in (*before.patches, *both.patches)} == {other}
    assert [label.get_text() for label in both.get_yticklabels()] == [r"a\$b\$", "walk"]


def test_tallies_count_and_their_intervals_are_of_recordings():
    hits = {"a": np.array([True] * 8 + [False] * 2), "b": np.array([True, False])}
    (axis,) = visualize.tallies(hits, chance=0.25).axes
    assert [text.get_text() for text in axis.texts] == ["8 of 10: 80%", "1 of 2: 50%"]
    assert [bar.get_width() for bar in axis.patches] == [80, 50]

    def span(groups):
        (axis,) = visualize.tallies({"a": hits["a"]}, chance=0.25, groups=groups).axes
        return np.ptp(axis.collections[0].get_segments()[0][:, 0])

    assert span([np.arange(10) // 5]) > span(None)  # two recordings say less than ten


def test_the_first_direction_is_the_one_in_which_points_differ_most():
    along = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    vectors = np.stack([along, 100 * along, np.full(5, 7.0)], axis=1)  # one direction, whatever the units; one constant
    points, shares = visualize.principal_axes(vectors)
    np.testing.assert_allclose(points[:, 0], along / along.std() * np.sqrt(2))
    np.testing.assert_allclose(points[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(shares, [1, 0], atol=1e-12)


def test_a_feature_map_has_a_cloud_of_its_own_for_each_class():
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    (axis,) = visualize.feature_map(vectors, np.array([0, 1, 1, 1, 0, 1]), ("run", "sit")).axes
    assert [len(cloud.get_offsets()) for cloud in axis.collections] == [2, 4]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["run", "sit"]


def test_accuracy_against_clips_shows_the_mean_and_names_the_sizes():
    numbers = {"low": [0.2, 0.4], "high": [0.6, 0.9], "lowest": [0.3, 0.6], "highest": [0.5, 0.8]}
    curve = pd.DataFrame({"clips_a_class": [1, 5], "accuracy": [0.4, 0.7], **numbers})
    (axis,) = visualize.accuracy_against_clips(curve, chance=0.25).axes
    assert axis.lines[0].get_ydata().tolist() == pytest.approx([40, 70])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "5"]
    assert axis.collections[1].get_segments()[0][:, 1].tolist() == pytest.approx([30, 50])


def test_the_curves_of_a_fine_tuning_stand_against_the_line_of_the_probe():
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_top1": [0.4, 0.8]})
    left, right = visualize.fine_tuning_curves({"tuned": epochs, "scratch": epochs}, probe=0.7, chance=0.5).axes
    assert left.lines[0].get_ydata().tolist() == [1.0, 0.5] and len(left.lines) == 2
    assert [line.get_ydata()[0] for line in right.lines] == pytest.approx([40, 40, 70, 50])


def test_weight_changes_say_which_layer_began_anew():
    tables = {
        name: pd.DataFrame({"layer": ["stem", "logits"], "change": [change, np.nan]})
        for name, change in (("all", 0.25), ("frozen", 0.0))
    }
    (axis,) = visualize.weight_changes(tables).axes
    assert [text.get_text() for text in axis.texts] == ["25", "began anew", "0", "began anew"]
    assert [bar.get_width() for bar in axis.patches] == [25, 0, 0, 0]


def test_suspects_are_told_apart_and_the_missed_ones_counted():
    table = pd.DataFrame({"video_id": ["a", "b", "c"], "margin": [-0.9, -0.5, -0.1]})
    (axis,) = visualize.suspect_ranks(table, {"b", "z"}, most=2).axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axis.patches] == [(2, -0.5), (1, -0.9)]
    assert axis.get_legend().get_texts()[0].get_text() == "wrong on purpose: 1, and 1 that are not here"


def test_the_same_answer_lies_on_the_diagonal_and_the_largest_difference_is_named():
    first = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    second = first + np.array([[0, 0.25], [0, 0]], np.float32)
    left, right = visualize.same_answer(first, second, ("Keras", "ONNX")).axes
    assert list(left.lines[0].get_xdata()) == list(left.lines[0].get_ydata()) == [-2, 3]
    assert right.lines[0].get_ydata().tolist() == [0.25, 0, 0, 0] and "2.5e-01" in right.get_title()
    with pytest.raises(ValueError, match="one shape"):
        visualize.same_answer(first, second[:1], ("Keras", "ONNX"))
