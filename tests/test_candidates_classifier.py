"""Still images → a calibrated classifier: groups, training on a tiny backbone, its file and its JSON."""

import importlib
import json
import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from colored import COLORS, color_classifier
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.arguments import CandidateTrainSettings
from vidbench.candidates import classifier as module
from vidbench.candidates import training
from vidbench.candidates.calibrate import (
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    mean_log_loss,
)
from vidbench.candidates.classifier import applications, build_network, load_classifier, looked_for, set_trainable
from vidbench.candidates.pictures import (
    Picture,
    class_order,
    list_pictures,
    source_of,
    split_pictures,
    squeezed,
    write_jpeg,
)
from vidbench.candidates.run import train_run
from vidbench.candidates.training import Batches, Recipe, augmented, train_classifier
from vidbench.metrics import calibration_error, reliability
from vidbench.utils import UserError


def noisy(color, seed: int, side: int = 40) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-20, 21, (side, side + 8, 3))
    return np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve pictures each of blue, red and grey, from four sources a class."""
    colors = {"blue": COLORS["blue"], "red": COLORS["red"], "none of these": (128, 128, 128)}
    for place, (name, color) in enumerate(colors.items()):
        for number in range(12):
            path = tmp_path / "images" / name / f"{name.split()[0]}clip{number // 3}_{number % 3:04d}.jpg"
            write_jpeg(path, noisy(color, 100 * place + number))
    return tmp_path / "images"


# ------------------------------------------------------------------ pictures and their sources


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("clip-7_0012.jpg", "clip-7"),
        ("clip-7_frame12.png", "clip-7"),
        ("aQ1-_bcdefg_000010_000020.jpg", "aQ1-_bcdefg"),
        ("aQ1-_bcdefg_000010_000020_0003.jpg", "aQ1-_bcdefg"),
        ("v_Archery_g01_c02_0003.jpg", "Archery_g01"),
        ("sunset.jpg", "sunset"),
        ("0012.jpg", "Archery/0012"),
        ("IMG_0012.jpg", "Archery/IMG_0012"),
    ],
)
def test_a_name_tells_the_source(name, group):
    assert source_of(name, "Archery") == group


def test_a_table_tells_better(folder):
    (folder / "images.csv").write_text("file,group\nblue/blueclip0_0000.jpg,studio\nblue/blueclip1_0000.jpg,studio\n")
    groups = {picture.path.name: picture.group for picture in list_pictures(folder)}
    assert groups["blueclip0_0000.jpg"] == groups["blueclip1_0000.jpg"] == "studio"
    assert groups["blueclip0_0001.jpg"] == "blueclip0"


def test_no_source_is_on_both_sides_and_every_class_is(folder):
    pictures = list_pictures(folder)
    learned, held_out = split_pictures(pictures, 0.25, seed=1)
    assert sorted([*learned, *held_out], key=str) == sorted(pictures, key=str) and len(held_out) == 9
    assert not {picture.group for picture in learned} & {picture.group for picture in held_out}
    assert {picture.label for picture in held_out} == {"blue", "red", "none of these"}
    assert split_pictures(pictures, 0.25, seed=1) == (learned, held_out)


def test_where_names_tell_nothing_each_picture_is_a_source(tmp_path, caplog):
    for label in ("a", "b"):
        for number in range(4):
            write_jpeg(tmp_path / label / f"{label} in the park {number}.jpg", noisy((90, 90, 90), number))
    with caplog.at_level(logging.WARNING):
        groups = [picture.group for picture in list_pictures(tmp_path)]
    assert len(set(groups)) == 8 and "the names of 'a' tell no sources apart" in caplog.text


def test_folders_that_cannot_be_learnt_from_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        list_pictures(tmp_path / "gone")
    write_jpeg(tmp_path / "a" / "1.jpg", noisy((9, 9, 9), 0))
    with pytest.raises(UserError, match="each of two classes or more, it has 1"):
        list_pictures(tmp_path)
    write_jpeg(tmp_path / "b" / "1.jpg", noisy((9, 9, 9), 0))
    with pytest.raises(UserError, match="two pictures or more: a, b has one"):
        list_pictures(tmp_path)
    alone = [Picture(Path(f"{label}{number}"), label, label) for label in "ab" for number in range(4)]
    with pytest.raises(UserError, match="no picture of"):
        split_pictures(alone, 0.2)


def test_the_class_of_no_action_comes_last():
    assert class_order(["waving", "none_of_these", "jump", "waving"]) == ("jump", "waving", "none_of_these")


def test_a_picture_is_squeezed_whole_and_augmented_the_same_for_the_same_dice():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 40:] = 200  # a third of the width stays a third
    assert squeezed(image, 30).shape == (30, 30, 3) and (squeezed(image, 30)[:, 21:] == 200).all()
    one, same, other = (augmented(noisy(COLORS["red"], 3), 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (32, 32, 3) and one.dtype == np.uint8
    assert (one == same).all() and (one != other).any()


def test_batches_hold_every_picture_once_an_epoch_in_another_order(folder):
    pictures = list_pictures(folder)
    batches = Batches(pictures, ("blue", "red", "none of these"), Recipe(image_size=32, batch_size=8, seed=3))
    first = [batches[number] for number in range(len(batches))]
    assert [len(labels) for _, labels in first] == [8, 8, 8, 8, 4]
    order = np.concatenate([labels for _, labels in first])
    assert np.bincount(order).tolist() == [12, 12, 12]
    for images, labels in first:  # labels go with their pictures
        assert ((images.mean(axis=(1, 2)).argmax(axis=1) == 2) == (labels == 0))[labels < 2].all()
    batches.on_epoch_end()
    assert order.tolist() != np.concatenate([batches[number][1] for number in range(len(batches))]).tolist()


# ------------------------------------------------------------------ calibration


def test_the_calibration_error_by_hand():
    # 0.95 and 0.91 in one step, one of them right: |0.93 - 0.5|; 0.62 alone, wrong; 1.0 alone, right
    steps = reliability(np.array([0.95, 0.62, 0.91, 1.0]), np.array([True, False, False, True]))
    assert [(step["low"], step["videos"]) for step in steps] == [(0.6, 1), (0.9, 3)]
    assert steps[1]["confidence"] == pytest.approx(2.86 / 3) and steps[1]["accuracy"] == pytest.approx(2 / 3)
    assert calibration_error(steps) == pytest.approx((0.62 + 3 * abs(2.86 / 3 - 2 / 3)) / 4)
    logits = np.log([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7]])
    assert expected_calibration_error(logits, np.array([0, 1, 1])) == pytest.approx((2 * 0.3 + 0.3) / 3, abs=1e-6)


def test_the_temperature_is_the_factor_that_confidence_is_off_by():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, (20_000, 4))
    chances = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(truth, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * truth, labels) == pytest.approx(3, abs=0.15)
    before = expected_calibration_error(3 * truth, labels)
    after = expected_calibration_error(cross_fitted(3 * truth, labels, np.arange(20_000) % 50), labels)
    assert before > 0.1 and after < 0.02


def test_each_half_is_scaled_by_what_the_other_half_asks_for():
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [8.0, 0.0], [0.0, 8.0]] * 10)
    labels = np.array([0, 1, 0, 0] * 10)
    groups = np.array(["a", "a", "b", "b"] * 10)
    found = cross_fitted(logits, labels, groups)
    first, second = groups == "a", groups == "b"
    np.testing.assert_allclose(found[first], logits[first] / fit_temperature(logits[second], labels[second]))
    np.testing.assert_allclose(found[second], logits[second] / fit_temperature(logits[first], labels[first]))


@settings(deadline=None)  # the first call imports SciPy
@given(st.floats(0.1, 10), st.integers(0, 20))
def test_no_temperature_makes_the_labels_likelier_than_the_fitted_one(other, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (60, 3)), rng.integers(3, size=60)
    best = fit_temperature(logits, labels)
    assert mean_log_loss(logits / best, labels) <= mean_log_loss(logits / other, labels) + 1e-6


# ------------------------------------------------------------------ networks


def mean_color(include_top, input_shape, pooling, weights):
    """A backbone that gives the mean of each channel."""
    frames = keras.Input(input_shape)
    return keras.Model(frames, keras.layers.GlobalAveragePooling2D()(frames))


def as_application(monkeypatch, build, name: str, like: str) -> None:
    """Put a function in the place of an application, with the preprocessing of the one called `like`."""
    build.__module__ = getattr(keras.applications, like).__module__
    monkeypatch.setattr(keras.applications, name, build, raising=False)


@pytest.mark.parametrize(
    ("backbone", "black", "white"),
    [
        ("MobileNetV2", (-1, -1, -1), (1, 1, 1)),
        ("ResNet50", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),  # blue first, minus ImageNet's means
        ("DenseNet121", (-2.1179, -2.0357, -1.8044), (2.2489, 2.4286, 2.64)),  # (0 or 1 - mean) / std, red first
        ("EfficientNetB0", (0, 0, 0), (255, 255, 255)),  # has it inside
    ],
)
def test_the_applications_own_preprocessing_is_in_the_graph(monkeypatch, tmp_path, backbone, black, white):
    as_application(monkeypatch, mean_color, backbone, backbone)
    network = build_network(backbone.lower(), 3, 32, "none")
    network.get_layer("logits").set_weights([np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    network.save(tmp_path / "network.keras")
    images = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255), np.zeros((32, 32, 3))]).astype(np.float32)
    images[2, ..., 0] = 255  # red alone
    for one in (network, keras.models.load_model(tmp_path / "network.keras")):
        found = one.predict_on_batch(images)
        np.testing.assert_allclose(found[0], black, atol=1e-3)
        np.testing.assert_allclose(found[1], white, atol=2e-3)
        assert (np.abs(found[2] - found[0]) > 1e-3).tolist() == [
            place == (2 if backbone == "ResNet50" else 0) for place in range(3)
        ]


def test_what_cannot_be_built_is_said_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"unknown feature extractor 'densnet121'; did you mean 'densenet121'\?"):
        build_network("densnet121", 2, 64, "none")
    with pytest.raises(UserError, match="InceptionV3 cannot take images of 40×40"):
        build_network("inceptionv3", 2, 40, "none")
    with pytest.raises(UserError, match=r"no such file: .*gone\.h5; --weights takes imagenet, none or a file"):
        build_network("mobilenetv3small", 2, 32, str(tmp_path / "gone.h5"))
    (tmp_path / "bad.h5").write_text("no weights")
    with pytest.raises(UserError, match="does not hold weights of"):
        build_network("mobilenetv3small", 2, 32, str(tmp_path / "bad.h5"))


def test_without_a_network_one_line_says_where_the_weights_are(monkeypatch):
    def offline(weights, **shape):
        raise Exception("URL fetch failure on https://example.org/densenet121_notop.h5: None -- [Errno -2] no network")

    as_application(monkeypatch, offline, "DenseNet121", "DenseNet121")
    with pytest.raises(UserError) as caught:
        build_network("densenet121", 2, 64)
    told = str(caught.value)
    assert (
        "--weights none" in told
        and "--weights FILE" in told
        and told.endswith("https://example.org/densenet121_notop.h5")
    )
    assert "\n" not in told


def test_the_head_alone_learns_then_all_but_the_batch_norms():
    network = build_network("mobilenetv3small", 3, 32, "none")
    set_trainable(network, backbone=False, norms=False)
    assert len(network.trainable_weights) == 2  # kernel and bias of the head
    set_trainable(network, backbone=True, norms=False)
    names = {weight.name for weight in network.trainable_weights}
    assert len(network.trainable_weights) > 50 and not names & {"gamma", "beta"}
    set_trainable(network, backbone=True, norms=True)
    assert {"gamma", "beta"} <= {weight.name for weight in network.trainable_weights}


def test_weights_travel_by_file(tmp_path, folder):
    one = build_network("mobilenetv3small", 3, 32, "none")
    one.get_layer("backbone").save_weights(tmp_path / "own.weights.h5")
    other = build_network("mobilenetv3small", 5, 32, str(tmp_path / "own.weights.h5"))
    for ours, theirs in zip(
        one.get_layer("backbone").get_weights(), other.get_layer("backbone").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


# ------------------------------------------------------------------ the whole command, and its file


def small(include_top, input_shape, pooling, weights):
    """A backbone of one convolution: real ones take a minute to trace."""
    frames = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2)(frames)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.999)(x))
    return keras.Model(frames, keras.layers.GlobalAveragePooling2D()(x), name="small")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `train` makes of 36 pictures in three colours, without ImageNet's weights."""
    root = tmp_path_factory.mktemp("trained")
    colors = {"blue": COLORS["blue"], "red": COLORS["red"], "none of these": (128, 128, 128)}
    for place, (name, color) in enumerate(colors.items()):
        for number in range(12):
            path = root / "images" / name / f"c{place}{number // 3}_{number % 3:04d}.jpg"
            write_jpeg(path, noisy(color, 100 * place + number))
    (root / "images" / "red" / "broken_0001.jpg").write_bytes(b"no picture")
    wanted = CandidateTrainSettings(
        data_dir=root / "images", feature_extractor="Small", weights="none", image_size=32, epochs=6, batch_size=9,
        learning_rate=1e-2, held_out=0.25, save_checkpoint=root / "out" / "colours.keras",
    )  # fmt: skip
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        as_application(patch, small, "Small", "MobileNetV2")
        return wanted, train_run(wanted, lines.append), lines


def test_training_writes_a_calibrated_classifier_and_says_how_good_it_is(trained):
    wanted, classifier, lines = trained
    record = json.loads(wanted.save_checkpoint.with_suffix(".json").read_text())
    assert record["classes"] == ["blue", "red", "none of these"] and record["image_size"] == 32
    assert record["feature_extractor"] == "small" and record["temperature"] == classifier.temperature > 0
    assert record["held_out"]["pictures"] == 9 and record["held_out"]["sources"] == 3
    assert record["held_out"]["accuracy"] == 1  # colours are easy
    assert 0 <= record["calibration_error"]["after"] <= 1 and len(record["sha256"]) == 64
    assert wanted.save_checkpoint.with_suffix(".txt").read_text() == "blue\nred\nnone of these\n"
    assert lines[0] == "27 pictures to learn from, 9 held out: blue 12, none of these 12, red 12"
    told = [float(line.split("held out ")[1].split(",")[0]) for line in lines if line.startswith("epoch")]
    assert len(told) == 6 and told[record["provenance"]["epoch"] - 1] == min(told)
    assert "calibration error" in lines[-2]


def test_the_epoch_with_the_lowest_loss_is_kept(folder, monkeypatch):
    as_application(monkeypatch, small, "Small", "MobileNetV2")
    told, seen, logits = iter([0.9, 0.3, 0.5, 0.7]), [], training._logits
    monkeypatch.setattr(training, "mean_log_loss", lambda *given: next(told))
    monkeypatch.setattr(training, "_logits", lambda *given: seen.append(logits(*given)) or seen[-1])
    recipe = Recipe("small", "none", 32, epochs=4, batch_size=9, learning_rate=1e-2)
    found, rows = train_classifier(*split_pictures(list_pictures(folder), 0.25), recipe)
    assert [row["val_loss"] for row in rows] == [0.9, 0.3, 0.5, 0.7] and found.record["provenance"]["epoch"] == 2
    assert len(seen) == 5  # after each epoch, and of what is kept
    np.testing.assert_allclose(seen[4], seen[1], atol=1e-5)
    assert np.abs(seen[4] - seen[3]).max() > 1e-3


def test_the_file_gives_the_same_probabilities_again(trained):
    wanted, classifier, _ = trained
    images = np.stack([squeezed(noisy(color, 7), 32) for color in COLORS.values()])
    again = load_classifier(wanted.save_checkpoint)
    np.testing.assert_allclose(again(images), classifier(images), atol=1e-6)
    np.testing.assert_allclose(again(images).sum(axis=1), 1, atol=1e-6)
    assert again.classes == classifier.classes and again.size == 32


def test_a_checkpoint_is_not_overwritten_by_accident(trained):
    with pytest.raises(UserError, match=r"is there already: choose another --save-checkpoint, or --overwrite"):
        train_run(trained[0], print)


def test_the_temperature_divides_the_logits(tmp_path):
    classifier = load_classifier(color_classifier(tmp_path / "colours.keras"))
    image = np.full((1, 16, 16, 3), (250, 20, 20), np.uint8)  # logits 2, 2, 25 and 15, temperature 2
    wanted = np.exp([1, 1, 12.5, 7.5]) / np.exp([1, 1, 12.5, 7.5]).sum()
    np.testing.assert_allclose(classifier(image)[0], wanted, rtol=1e-4)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    path = color_classifier(tmp_path / "colours.keras")
    with pytest.raises(UserError, match="there is no image classifier"):
        load_classifier(tmp_path / "gone.keras")
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "sha256": "0" * 64}))
    with pytest.raises(UserError, match="its sha256 differs"):
        load_classifier(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"has no colours\.json beside it: --class-names FILE"):
        load_classifier(path)
    with pytest.raises(UserError, match="gives 4 numbers, 2 classes are named"):
        load_classifier(path, ("a", "b"))
    bare = load_classifier(path, ("a", "b", "c", "d"))
    assert bare.classes == ("a", "b", "c", "d") and bare.temperature == 1
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read as a Keras model"):
        load_classifier(path, ("a", "b", "c", "d"))


def test_what_is_looked_for():
    classes = ("jump", "wave", "none of these")
    assert looked_for(classes, None) == ["jump", "wave", None]
    assert looked_for(classes, ("Wave", "none of these")) == [None, "wave", None]
    with pytest.raises(UserError, match="did you mean 'wave'"):
        looked_for(classes, ("waves",))
    with pytest.raises(UserError, match="no class to look for"):
        looked_for(classes, ("none of these",))


def test_every_application_of_keras_has_its_preprocessing():
    assert len(applications()) >= 30 and module.IMAGENET == "imagenet"
    for name in applications().values():
        home = importlib.import_module(getattr(keras.applications, name).__module__)
        assert callable(home.preprocess_input), name


# ------------------------------------------------------------------ the backbone of drawings


def test_the_demos_network_of_single_frames_is_a_backbone(tmp_path):
    from vidbench.models import load_model
    from vidbench.probing.features import head_layer

    demo = load_model("demo-frames")
    network = build_network("demo-frames", 8, 96)
    network.get_layer("logits").set_weights(head_layer(demo.network).get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    ours = np.asarray(network.predict_on_batch(images.astype(np.float32)))
    np.testing.assert_allclose(ours, demo(images[:, None]), atol=1e-3)  # a video of one frame
    set_trainable(network, backbone=False, norms=False)
    assert len(network.trainable_weights) == 2
    set_trainable(network, backbone=True, norms=False)
    assert {weight.path.rsplit("/", 1)[1] for weight in network.trainable_weights} == {"kernel", "bias"}


def test_training_on_the_backbone_of_drawings_is_saved_and_loaded(folder, tmp_path):
    learned, held_out = split_pictures(list_pictures(folder), 0.25)
    recipe = Recipe("demo-frames", image_size=32, epochs=1, frozen_epochs=1, learning_rate=1e-3, batch_size=8)
    made, rows = train_classifier(learned, held_out, recipe, lambda line: None)
    assert [row["stage"] for row in rows] == ["head", "all"] and made.record["provenance"]["weights"] == "demo-frames"
    module.save_classifier(made, tmp_path / "x.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(load_classifier(tmp_path / "x.keras")(image), made(image), atol=1e-5)
