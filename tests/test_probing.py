"""The linear probe: features that give the logits, kept by content, and what is fitted on them and read off them."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import COLORS, solid, write_video
from test_zoo import compiled

from vidbench.data.load import VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.metrics import softmax, top_k_accuracy, wilson_interval
from vidbench.models import Classifier, Spec, build_model, load_model, save_model
from vidbench.predict import compute_accuracy, evaluate, score
from vidbench.probing import (
    Features,
    extract_features,
    feature_network,
    fit_head,
    head_layer,
    learning_curve,
    neighbours,
    read_features,
    set_head,
    suspects,
    write_features,
    write_suspects,
)
from vidbench.probing.features import network_digest
from vidbench.probing.head import STRENGTHS, held_out_probabilities, log_loss
from vidbench.probing.tables import confidently_wrong, contradictions, first_clips
from vidbench.utils import UserError

PLAIN = Protocol(num_frames=2, resize="exact", resize_to=(8, 8), crop=None)
SPEC = Spec("mean_color", ("blue", "green", "red"), PLAIN)


def mean_color(num_classes=3, activation=None, use_bias=True, seed=0):
    """A network whose features are the mean red, green and blue."""
    keras.utils.set_random_seed(seed)
    frames = keras.Input((None, None, None, 3), name="frames")
    x = keras.layers.GlobalAveragePooling3D(name="mean")(frames)
    logits = keras.layers.Dense(num_classes, activation, use_bias, name="logits")(x)
    return keras.Model(frames, logits, name="mean_color")


def convolved(num_classes=3, activation="relu"):
    """A network with a head as I3D's: logits at every position, then their mean."""
    keras.utils.set_random_seed(0)
    frames = keras.Input((None, None, None, 3), name="frames")
    x = keras.layers.Conv3D(5, (1, 3, 3), activation=activation, name="conv")(frames)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Conv3D(num_classes, 1, name="logits_conv")(x)
    return keras.Model(frames, keras.layers.GlobalAveragePooling3D(name="logits")(x), name="convolved")


def made(vectors, labels, groups=None):
    """Features of vectors (N, D) or (N, V, D); videos are called v0, v1 …"""
    vectors = np.asarray(vectors, np.float32)
    vectors = vectors[:, None] if vectors.ndim == 2 else vectors
    ids = tuple(f"v{number}" for number in range(len(vectors)))
    return Features(vectors, ids, np.asarray(labels, np.int64), ids if groups is None else tuple(groups))


def blobs(per_class=20, num_classes=3, width=8, views=1, noise=1.0, seed=0):
    """Clouds around one corner a class, labels in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(per_class * num_classes) % num_classes
    centres = 4 * np.eye(num_classes, width)[labels]
    each = centres[:, None] + noise * rng.normal(size=(len(labels), 1, width))
    return made(each + 0.3 * rng.normal(size=(len(labels), views, width)), labels)


# ------------------------------------------------------------------ features


@pytest.mark.parametrize(
    ("name", "options", "view"),
    [
        ("i3d", {}, (17, 193, 193)),
        ("slowfast_r18", {}, (8, 64, 256)),
        ("x3d_xs", {}, (4, 64, 192)),
        ("lrcn", {"fusion": "attention", "hidden": 8}, (4, 48, 48)),
        ("lrcn", {"fusion": "last", "hidden": 8}, (4, 48, 48)),
    ],
)
def test_features_are_means_over_the_positions_of_the_head(name, options, view):
    """tests/test_zoo.py does the same for all, on clips so small that most heads have one position."""
    keras.utils.set_random_seed(0)
    network = build_model(name, 3, **options)
    clip = np.random.default_rng(0).normal(size=(1, *view, 3)).astype(np.float32)
    logits, positions, features = (
        compiled(part)(clip)
        for part in (network, keras.Model(network.inputs, head_layer(network).input), feature_network(network))
    )
    assert (positions[0].size > positions.shape[-1]) == (name != "lrcn")
    kernel, bias = head_layer(network).get_weights()
    np.testing.assert_allclose(features @ kernel.reshape(kernel.shape[-2:]) + bias, logits, atol=1e-4 * logits.std())
    keras.utils.clear_session()


def test_what_cannot_be_probed_says_why():
    frames = keras.Input((None, None, None, 3))
    headless = keras.Model(frames, keras.layers.GlobalAveragePooling3D()(frames), name="bare")
    with pytest.raises(UserError, match="bare cannot be probed: it has no layer whose name begins with 'logits'"):
        feature_network(headless)
    for network in (mean_color(activation="softmax"), mean_color(use_bias=False)):
        with pytest.raises(UserError, match=r"mean_color cannot be probed: .* not a linear .* logits \(Dense\)"):
            feature_network(network)
    wide = keras.layers.Conv3D(3, (1, 3, 3), name="logits_conv")(frames)
    wide = keras.Model(frames, keras.layers.GlobalAveragePooling3D(name="logits")(wide), name="wide")
    with pytest.raises(UserError, match=r"wide cannot be probed: .* logits_conv \(Conv3D\)"):
        feature_network(wide)
    temperature = keras.Model(wide.inputs, mean_color()(frames) * 2, name="hot")
    with pytest.raises(UserError, match="hot cannot be probed"):
        feature_network(temperature)


def test_a_digest_is_of_what_changes_outputs_and_of_nothing_else(tmp_path):
    once = network_digest(feature_network(convolved()))
    again = convolved()  # its operations have other names: Keras counts them
    again.layers[1].trainable = False
    again.save(tmp_path / "again.keras")
    loaded = keras.models.load_model(tmp_path / "again.keras", compile=False)
    assert once == network_digest(feature_network(again)) == network_digest(feature_network(loaded))
    assert once == network_digest(feature_network(convolved(num_classes=7)))  # the head is no part of it
    assert once != network_digest(feature_network(convolved(activation="gelu")))
    again.get_layer("conv").bias.assign(np.full(5, 0.1))
    assert once != network_digest(feature_network(again))


@pytest.fixture
def videos(tmp_path):
    """Red, green and blue, and one each that is missing, broken and of a class that nobody knows."""
    rows = [Video(name, write_video(tmp_path / f"{name}.mkv", solid(COLORS[name])), name) for name in ("red", "green")]
    (tmp_path / "broken.mp4").write_bytes(b"no video, though long enough for one" * 40)
    blue = write_video(tmp_path / "blue.mkv", solid((0, 0, 51)))
    return [
        rows[0],
        Video("gone", tmp_path / "gone.mp4", "red"),
        rows[1],
        Video("broken", tmp_path / "broken.mp4", "red"),
        Video("dark", blue, "Blue", group="a cellar"),
        Video("unknown", write_video(tmp_path / "x.mkv", solid((51, 102, 153))), "violet"),
    ]


@pytest.fixture
def calls(monkeypatch):
    """The ids of the videos that a loader was asked for, and a number for every time that a network ran."""
    seen = {"loaded": [], "runs": 0}
    iterate, start = VideoLoader.__iter__, Classifier.start

    def loading(loader):
        for item in iterate(loader):
            seen["loaded"].append(item.video.video_id)
            yield item

    def running(model, frames):
        seen["runs"] += 1
        return start(model, frames)

    monkeypatch.setattr(VideoLoader, "__iter__", loading)
    monkeypatch.setattr(Classifier, "start", running)
    return seen


def test_vectors_are_the_pooled_normalised_pixels(videos):
    spec = replace(SPEC, value_range=(-1.0, 1.0))
    features = extract_features(mean_color(), spec, VideoLoader(videos, PLAIN))
    assert features.video_ids == ("red", "green", "dark", "unknown")
    wanted = [[1, -1, -1], [-1, 1, -1], [-1, -1, -0.6], [-0.6, -0.2, 0.2]]  # 255 → 1, 51 → -0.6 …
    assert features.vectors.shape == (4, 1, 3) and features.vectors[:, 0] == pytest.approx(np.array(wanted), abs=1e-5)
    assert features.labels.tolist() == [2, 1, 0, -1]
    assert features.groups == ("red", "green", "a cellar", "unknown")
    assert [(failure.video.video_id, failure.stage) for failure in features.failures] == [
        ("gone", "find"),
        ("broken", "open"),
    ]
    assert features.labelled.video_ids == ("red", "green", "dark")


def test_each_view_has_a_vector(tmp_path):
    frames = np.concatenate([solid((255, 0, 0), 4), solid((0, 0, 255), 4)])
    video = Video("both", write_video(tmp_path / "x.mkv", frames))
    protocol = Protocol("clips", num_frames=4, frame_rate=10, clips=2, resize="exact", resize_to=(8, 8), crop=None)
    features = extract_features(mean_color(), SPEC, VideoLoader([video], protocol))
    assert features.vectors[0] == pytest.approx(np.array([[1, 0, 0], [0, 0, 1]]), abs=1e-6)


def test_a_gpu_s_batches_give_the_same_vectors(videos, monkeypatch, calls):
    protocol = replace(PLAIN, clips=3)
    each = extract_features(mean_color(), SPEC, VideoLoader(videos, protocol))
    monkeypatch.setattr("vidbench.models.classifier.device_name", lambda: "GPU")  # eight views at once
    calls.update(runs=0)
    batched = extract_features(mean_color(), SPEC, VideoLoader(videos, protocol))
    assert calls["runs"] == 2 and batched.video_ids == each.video_ids  # nine views of three videos, three of the last
    np.testing.assert_allclose(batched.vectors, each.vectors, atol=1e-6)


def test_no_videos_no_vectors(videos):
    features = extract_features(mean_color(), SPEC, VideoLoader(videos[1:2], PLAIN))
    assert features.vectors.shape == (0, 1, 3) and len(features.failures) == 1 and features.labels.shape == (0,)


def test_a_second_call_decodes_and_computes_nothing(videos, tmp_path, calls):
    whole = [videos[0], videos[2], videos[4]]
    loader = VideoLoader(whole, PLAIN, cache_dir=tmp_path / "cache")
    first = extract_features(mean_color(), SPEC, loader)
    assert calls == {"loaded": ["red", "green", "dark"], "runs": 3}
    again = extract_features(mean_color(num_classes=9, seed=1), SPEC, loader)  # another head
    assert calls == {"loaded": ["red", "green", "dark"], "runs": 3}
    assert (again.vectors == first.vectors).all() and again.video_ids == first.video_ids
    extract_features(mean_color(), SPEC, VideoLoader(whole, PLAIN, cache_dir=tmp_path / "cache", overwrite_cache=True))
    assert calls["runs"] == 6


def test_an_added_video_costs_only_itself_and_failures_are_tried_again(videos, tmp_path, calls):
    loader = VideoLoader(videos[:2], PLAIN, cache_dir=tmp_path / "cache")
    extract_features(mean_color(), SPEC, loader)
    write_video(tmp_path / "gone.mp4", solid((255, 255, 255)), codec="mpeg4", qscale="1")  # it is there now
    calls.update(loaded=[], runs=0)
    features = extract_features(mean_color(), SPEC, VideoLoader(videos[:3], PLAIN, cache_dir=tmp_path / "cache"))
    assert calls == {"loaded": ["gone", "green"], "runs": 2}
    assert features.video_ids == ("red", "gone", "green") and not features.failures
    assert features.vectors[1, 0] == pytest.approx(np.ones(3), abs=0.02)


def test_a_stopped_extraction_goes_on_where_it_stopped(videos, tmp_path, calls, monkeypatch):
    whole = [videos[0], videos[2], videos[4]]
    run, count = Classifier.start, iter(range(9))

    def stopped(model, frames):
        if next(count) == 2:
            raise KeyboardInterrupt
        return run(model, frames)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Classifier, "start", stopped)
        extract_features(mean_color(), SPEC, VideoLoader(whole, PLAIN, cache_dir=tmp_path / "cache"))
    calls.update(loaded=[], runs=0)
    features = extract_features(mean_color(), SPEC, VideoLoader(whole, PLAIN, cache_dir=tmp_path / "cache"))
    assert calls == {"loaded": ["dark"], "runs": 1} and len(features) == 3


def test_whatever_changes_a_vector_changes_its_file(videos, tmp_path, calls):
    def extract(network=None, spec=SPEC, protocol=PLAIN, video=videos[0]):
        loader = VideoLoader([video], protocol, cache_dir=tmp_path / "cache")
        return extract_features(network or convolved(), spec, loader)

    def kept():
        return sorted((tmp_path / "cache" / "features").rglob("*.npy"))

    moved = convolved()
    moved.get_layer("conv").bias.assign(np.full(5, 0.1))
    changes = [
        {},
        {"network": moved},
        {"spec": replace(SPEC, value_range=(-1.0, 1.0))},
        {"protocol": replace(PLAIN, num_frames=3)},
        {"video": replace(videos[0], end_seconds=0.3)},
        {"video": videos[2]},
    ]
    for number, change in enumerate(changes, start=1):
        extract(**change)
        assert (len(kept()), calls["runs"]) == (number, number)
    path = kept()[0]
    before = path.read_bytes()
    path.write_bytes(before[:-40])  # damaged: as if it were not there
    for change in changes:
        extract(**change)
    assert calls["runs"] == len(changes) + 1 and path.read_bytes() == before


def test_features_without_room_cost_no_result(videos, tmp_path, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features").write_text("a file where a folder should be")
    loader = VideoLoader([videos[0], videos[2]], PLAIN, cache_dir=tmp_path / "cache")
    assert len(extract_features(mean_color(), SPEC, loader)) == 2
    assert len([line for line in caplog.messages if "features are not kept" in line]) == 1


def test_a_set_of_features_is_one_file_that_numpy_reads(tmp_path):
    features = made([[[1, 2], [3, 4]]], [-1], ["näher"])
    write_features(tmp_path / "features.npy", features)
    back = read_features(tmp_path / "features.npy")
    assert (back.vectors == features.vectors).all() and back.labels.tolist() == [-1]
    assert (back.video_ids, back.groups) == (("v0",), ("näher",))
    assert np.load(tmp_path / "features.npy").tolist() == [[[1, 2], [3, 4]]]
    (tmp_path / "cut.npy").write_bytes((tmp_path / "features.npy").read_bytes()[:-9])
    for name in ("cut.npy", "none.npy"):
        with pytest.raises(UserError, match=f"{name} is not there, is damaged or holds no features"):
            read_features(tmp_path / name)


# ------------------------------------------------------------------ the head


def test_recordings_never_cross_folds():
    features = blobs(per_class=12)
    groups = [f"{label}-{number // 6}" for number, label in enumerate(features.labels)]  # pairs of a class
    head = fit_head(replace(features, groups=tuple(groups)), "abc", folds=4)
    table = pd.DataFrame({"group": groups, "fold": head.folds, "label": features.labels})
    assert table.groupby("group")["fold"].nunique().eq(1).all()
    assert table.groupby(["fold", "label"]).size().unstack().gt(0).all(axis=None) and set(head.folds) == {0, 1, 2, 3}


def test_a_held_out_video_s_own_label_has_no_say():
    features, folds = blobs(noise=2.0, views=2), np.arange(60) // 3 % 4
    labels = features.labels.copy()
    labels[folds == 1] = (labels[folds == 1] + 1) % 3
    (told,), (lied,) = (
        held_out_probabilities(replace(features, labels=names), folds, [0.1]) for names in (features.labels, labels)
    )
    assert (told[folds == 1] == lied[folds == 1]).all() and (told[folds != 1] != lied[folds != 1]).any()


def test_held_out_probabilities_and_scores_are_those_of_the_folds():
    features = blobs(noise=2.5, views=3)
    head = fit_head(features, "abc", seed=4)
    row = head.scores[head.scores["strength"] == head.strength].iloc[0]
    assert row["log_loss"] == head.scores["log_loss"].min() == pytest.approx(log_loss(head.held_out, features.labels))
    assert row["accuracy"] == top_k_accuracy(head.held_out, features.labels)
    assert head.scores["strength"].tolist() == list(STRENGTHS)
    seen, held = features[head.folds != 0], features.vectors[head.folds == 0]
    rows, views = seen.vectors.reshape(-1, 8), held.reshape(-1, 8)
    pipeline = exact_pipeline(head.strength / 3).fit(rows, np.repeat(seen.labels, 3))  # three views, a third each
    assert pipeline.predict_proba(views).reshape(-1, 3, 3).mean(axis=1) == pytest.approx(
        head.held_out[head.folds == 0], abs=2e-3
    )


def exact_pipeline(strength):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-9, max_iter=5000))


def test_the_same_seed_gives_the_same_head_and_another_other_folds():
    features = blobs(noise=2.0)
    one, same, other = (fit_head(features, "abc", seed=seed) for seed in (0, 0, 1))
    assert (one.kernel == same.kernel).all() and (one.held_out == same.held_out).all()
    assert (one.folds != other.folds).any()
    order = np.random.default_rng(0).permutation(len(features))
    assert (fit_head(features[order], "abc").folds == one.folds[order]).all()


def test_noise_asks_for_a_stronger_hand_than_signal():
    rng = np.random.default_rng(0)
    noise = fit_head(made(rng.normal(size=(60, 40)), np.arange(60) % 3), "abc")
    assert noise.strength < 0.01 < fit_head(blobs(noise=0.5), "abc").strength
    assert np.abs(noise.held_out - 1 / 3).max() < 0.2  # it has learnt that there is nothing to learn


def test_repeated_views_change_nothing():
    features = blobs(noise=2.0)
    tripled = replace(features, vectors=np.repeat(features.vectors, 3, axis=1))
    one, three = fit_head(features, "abc"), fit_head(tripled, "abc")
    assert one.strength == three.strength
    np.testing.assert_allclose(one.kernel, three.kernel, atol=1e-3)
    np.testing.assert_allclose(one.held_out, three.held_out, atol=1e-3)


def test_unlabelled_videos_are_neither_learnt_from_nor_scored():
    features = blobs()
    more = Features(
        np.concatenate([features.vectors, np.full((1, 1, 8), 50, np.float32)]),
        (*features.video_ids, "unlabelled"),
        np.append(features.labels, -1),
        (*features.groups, "unlabelled"),
    )
    head, plain = fit_head(more, "abc"), fit_head(features, "abc")
    assert (head.kernel == plain.kernel).all() and (head.held_out[:-1] == plain.held_out).all()
    assert np.isnan(head.held_out[-1]).all() and head.folds[-1] == -1
    assert suspects(more, head, "abc").equals(suspects(features, plain, "abc"))


def test_fewer_recordings_make_fewer_folds_and_one_is_too_few():
    features = blobs(per_class=6)
    three = ["few" + str(number % 2) if label == 1 else str(number) for number, label in enumerate(features.labels)]
    assert set(fit_head(replace(features, groups=tuple(three)), "abc").folds) == {0, 1}
    alone = ["one" if label == 1 else str(number) for number, label in enumerate(features.labels)]
    with pytest.raises(UserError, match="class 'b', that of 'v1', comes from one recording only"):
        fit_head(replace(features, groups=tuple(alone)), "abc")
    shared = ["a", "b"] * 9  # two recordings: either has all classes
    assert set(fit_head(replace(features, groups=tuple(shared)), "abc").folds) == {0, 1}
    # class 0 in a and b, class 1 in b and c, class 2 in c and a: of two folds one lacks a class, three do
    triangle = [{0: "ab", 1: "bc", 2: "ca"}[label][number // 9] for number, label in enumerate(features.labels)]
    assert set(fit_head(replace(features, groups=tuple(triangle)), "abc").folds) == {0, 1, 2}
    with pytest.raises(UserError, match=r"no two were found .* \(3 recordings, 2 folds asked for"):
        fit_head(replace(features, groups=tuple(triangle)), "abc", folds=2)


def test_classes_that_cannot_be_told_apart():
    features = blobs(per_class=4)
    with pytest.raises(UserError, match="2 of 5 classes have no training video with features: stand up, wave"):
        fit_head(features, ("walk", "run", "sit", "stand up", "wave"))
    with pytest.raises(UserError, match="it needs two or more, got 1"):
        fit_head(features, ("walk",))
    with pytest.raises(UserError, match=r"labels are 0 … 1 for 2 classes, got 2"):
        fit_head(features, ("walk", "run"))


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("build", [mean_color, convolved])
def test_the_whole_network_gives_the_pipeline_s_logits(build, num_classes):
    network = build(num_classes)
    rng = np.random.default_rng(0)
    clips = rng.uniform(0, 1, size=(30, 2, 6, 6, 3)).astype(np.float32)
    labels = np.arange(30) % num_classes
    clips[np.arange(30), ..., labels] += 0.05
    vectors = compiled(feature_network(network))(clips)
    head = fit_head(made(vectors, labels), "abc"[:num_classes])
    set_head(network, head)
    pipeline = exact_pipeline(head.strength).fit(vectors, labels)
    got = compiled(network)(clips)
    assert got.shape == (30, num_classes)
    np.testing.assert_allclose(softmax(got), pipeline.predict_proba(vectors), atol=5e-3)
    np.testing.assert_allclose(got, vectors @ head.kernel + head.bias, atol=1e-4)
    with pytest.raises(UserError, match=f"makes 7 logits of {vectors.shape[1]} features, the probe {num_classes} of"):
        set_head(build(7), head)


def test_a_saved_probe_scores_as_the_probe_said(tmp_path):
    """Drawn videos through the small network, its head fitted, saved, loaded and evaluated as any model."""
    rng = np.random.default_rng(0)
    protocol = Protocol(num_frames=4, clips=2, resize="exact", resize_to=(24, 32), crop=None)
    spec = Spec("probed", tuple(COLORS), protocol)
    rows = {"train": [], "val": []}
    for number in range(24):
        name = list(COLORS)[number % 3]
        color = np.array(COLORS[name]) // 2 + rng.integers(0, 100, 3)
        frames = np.clip(solid((0, 0, 0), 8) + color + rng.integers(-20, 20, (8, 16, 16, 3)), 0, 255).astype(np.uint8)
        path = write_video(tmp_path / f"{number}.mkv", frames)
        label = "red" if number in (19, 20) else name  # two wrong ones, blue and red's neighbours
        rows["train" if number < 15 else "val"].append(Video(str(number), path, label, group=str(number // 6) + name))
    keras.utils.set_random_seed(0)
    network = build_model("tiny2plus1d", 3)
    loaders = {split: VideoLoader(videos, protocol, cache_dir=tmp_path / "cache") for split, videos in rows.items()}
    train, val = (extract_features(network, spec, loaders[split]) for split in ("train", "val"))
    assert train.vectors.shape == (15, 2, 96) and len(set(train.groups)) == 9
    head = fit_head(train, "abc")
    set_head(network, head)
    save_model(network, tmp_path / "best.keras", spec)
    model = load_model(tmp_path / "best.keras")
    predictions = list(score(model, loaders["val"]))
    ours = head.probabilities(val.vectors)
    np.testing.assert_allclose([item.probabilities for item in predictions], ours, atol=1e-5)
    accuracy = compute_accuracy(evaluate(model, loaders["val"], top_n=1), num_top_classes=1)
    assert accuracy == 100 * top_k_accuracy(ours, val.labels)
    assert 100 / 3 < accuracy < 100  # it has learnt, and the wrong labels show
    assert learning_curve(train, val, "abc", [1, 2], strength=head.strength)["accuracy"].iloc[-1] == accuracy / 100


# ------------------------------------------------------------------ what else the vectors tell


def test_the_curve_s_clips_are_exact_nested_and_few_recordings_are_cut():
    labels = [0] * 6 + [1] * 3
    groups = ["a", "a", "b", "b", "c", "c", "d", "e", "f"]
    features = made(np.zeros((9, 2)), labels, groups)
    for draw in range(6):
        sizes = {size: set(first_clips(features, size, 0, draw).tolist()) for size in (1, 2, 3, 4, 6, 9)}
        assert {size: len(rows) for size, rows in sizes.items()} == {1: 2, 2: 4, 3: 6, 4: 7, 6: 9, 9: 9}
        assert sizes[1] < sizes[2] < sizes[3] < sizes[4] < sizes[6]
        assert len({groups[row] for row in sizes[4] if row < 6}) == 2  # two whole recordings, not parts of three
    drawn = {tuple(first_clips(features, 2, 0, draw)) for draw in range(6)}
    assert len(drawn) > 1
    order = np.arange(9)[::-1]
    assert {features[order].video_ids[row] for row in first_clips(features[order], 4, 0)} == {
        features.video_ids[row] for row in first_clips(features, 4, 0)
    }


def test_more_clips_more_accuracy_with_wilson_s_interval():
    train, val = blobs(noise=1.8, seed=1), blobs(per_class=30, noise=1.8, seed=2)
    curve = learning_curve(train, val, "abc")
    assert curve["clips_a_class"].tolist() == [1, 2, 4, 8, 16, 20]
    assert curve["videos"].tolist() == [3, 6, 12, 24, 48, 60] and curve["draws"].tolist() == [5] * 5 + [1]
    assert curve["accuracy"].iloc[0] + 0.1 < curve["accuracy"].iloc[-1]
    assert (curve["lowest"] <= curve["accuracy"]).all() and (curve["accuracy"] <= curve["highest"]).all()
    last = curve.iloc[-1]
    hits = round(last["accuracy"] * 90)
    assert last["accuracy"] == top_k_accuracy(fit_head(train, "abc").probabilities(val.vectors), val.labels)
    assert (last["low"], last["high"]) == pytest.approx(wilson_interval(hits, 90))
    halves = replace(val, groups=tuple(str(number // 2) for number in range(90)))
    wider = learning_curve(train, halves, "abc", [20])
    assert (wider["low"].iloc[0], wider["high"].iloc[0]) == pytest.approx(wilson_interval(hits / 2, 45))
    assert learning_curve(train, val, "abc", [2, 500, 2]).shape[0] == 2


def test_a_curve_needs_val_videos_and_sizes():
    train = blobs(per_class=4)
    with pytest.raises(UserError, match="needs val videos"):
        learning_curve(train, made(np.zeros((1, 8)), [-1]), "abc")
    with pytest.raises(UserError, match=r"are 1 clip a class or more, got \[0, 2\]"):
        learning_curve(train, train, "abc", [0, 2])


def test_neighbours_are_nearest_by_angle():
    train = made([[[2, 0], [0, 0]], [[0, 3], [0, 3]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]], [0, 1, 2, -1])
    query = replace(made([[[10, 0], [0, 10]], [[0, 1], [0, 1]]], [0, 1]), video_ids=("diagonal", "v1"))
    table = neighbours(train, query, k=2)
    assert table["video_id"].tolist() == ["diagonal", "diagonal", "v1", "v1"]
    assert table["neighbour"].tolist() == ["v2", "v0", "v2", "v0"]  # v1 is no neighbour of itself
    assert table["rank"].tolist() == [1, 2, 1, 2] and table["neighbour_label"].tolist() == [2, 0, 2, 0]
    assert table["cosine"].tolist() == pytest.approx([1, 0.5**0.5, 0.5**0.5, 0])
    everything = neighbours(train, train, k=9)
    assert len(everything) == 4 * 3 and (everything["video_id"] != everything["neighbour"]).all()
    assert neighbours(train, train[train.labels > 5]).empty


def test_contradictions_by_hand():
    p = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8], [0.3, 0.7], [0.5, 0.5]], np.float32)
    labels = [0, 0, 0, 1, 1]
    table = contradictions(made(np.zeros((5, 2)), labels), p, ("walk", "run"))
    assert list(table.columns) == ["video_id", "label", "suggested", "p_label", "p_suggested", "margin"]
    assert table["video_id"].tolist() == ["v2", "v1"]  # v4 is undecided
    assert table["label"].tolist() == ["walk"] * 2 and table["suggested"].tolist() == ["run"] * 2
    assert table["p_label"].tolist() == pytest.approx([0.2, 0.45])
    assert table["p_suggested"].tolist() == pytest.approx([0.8, 0.55])
    assert table["margin"].tolist() == pytest.approx([-0.6, -0.1])
    # what is called run has 0.7 and 0.5 of it, 0.6 on average: v2 reaches that, v1 does not
    assert confidently_wrong(np.array(labels), p).tolist() == [False, False, True, False, False]


def test_what_is_surely_wrong_is_not_learnt_from_in_the_second_look():
    features = blobs(per_class=20, seed=3)
    labels = features.labels.copy()
    labels[:5] = (labels[:5] + 1) % 3
    wrong = replace(features, labels=labels)
    head = fit_head(wrong, "abc")
    second = suspects(wrong, head, "abc")
    sure = np.flatnonzero(confidently_wrong(labels, head.held_out))
    assert 0 < len(sure) < 10
    (again,) = held_out_probabilities(wrong, head.folds, [head.strength], np.isin(np.arange(60), sure, invert=True))
    for fold in range(5):
        rest = [row for row in np.flatnonzero(head.folds != fold) if row not in sure]
        pipeline = exact_pipeline(head.strength).fit(wrong.vectors[rest, 0], labels[rest])
        held = head.folds == fold
        np.testing.assert_allclose(again[held], pipeline.predict_proba(wrong.vectors[held, 0]), atol=5e-3)
    named = {f"v{row}": again[row, labels[row]] for row in range(60)}
    assert second["p_label"].tolist() == pytest.approx([named[name] for name in second["video_id"]], abs=5e-3)
    with pytest.raises(ValueError, match="60 videos, 2 classes"):
        suspects(wrong, head, ("walk", "run"))


@pytest.mark.parametrize("seed", range(3))
def test_planted_wrong_labels_come_first(seed, tmp_path):
    features = blobs(per_class=20, views=2, width=16, noise=0.5, seed=seed)
    planted = np.random.default_rng(seed).choice(60, 5, replace=False)
    labels = features.labels.copy()
    labels[planted] = (labels[planted] + 1) % 3
    wrong = replace(features, labels=labels)
    table = suspects(wrong, fit_head(wrong, "abc", seed), ("walk", "run", "sit"))
    assert set(table["video_id"][:5]) == {f"v{number}" for number in planted}
    assert table["margin"].is_monotonic_increasing and (table["margin"] < 0).all()
    right = dict(zip(features.video_ids, features.labels, strict=True))
    assert all(("walk", "run", "sit")[right[row.video_id]] == row.suggested for row in table[:5].itertuples())
    write_suspects(tmp_path / "suspects.csv", table)
    back = pd.read_csv(tmp_path / "suspects.csv")
    assert list(back.columns) == ["video_id", "label", "suggested", "p_label", "p_suggested", "margin"]
    assert back["video_id"].tolist() == table["video_id"].tolist()
