"""Models by name and by file."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from vidbench import models
from vidbench.data.classes import kinetics_classes
from vidbench.data.protocol import Protocol
from vidbench.models import Spec, available_models, build_model, load_model, save_model
from vidbench.utils import UserError

PROTOCOL = Protocol(num_frames=4, resize="exact", resize_to=(16, 16), crop=None)


def small_network(name="small"):
    keras.utils.set_random_seed(0)
    frames = layers.Input((None, None, None, 3), name="frames")
    x = layers.Conv3D(4, 3, 2)(frames)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling3D()(x))
    return keras.Model(frames, layers.Dense(2, name="logits")(x), name=name)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    """(path, network, spec) of a model that `save_model` wrote."""
    network = small_network()
    spec = Spec("small", ("one", "two"), PROTOCOL, domain="nothing", value_range=(-1.0, 1.0), min_frames=3)
    save_model(network, tmp_path / "m" / "small.keras", spec)
    return tmp_path / "m" / "small.keras", network, spec


def test_the_names():
    assert available_models() == sorted(available_models())
    assert {"demo", "demo-frames", "i3d", "i3d-kinetics-400", "i3d-kinetics-600", "tiny2plus1d"} <= set(
        available_models()
    )


@pytest.mark.parametrize("name", ["i33d", "resnet"])
def test_unknown_names_list_the_right_ones(name):
    with pytest.raises(UserError, match=r"unknown architecture .* choose from .*i3d"):
        build_model(name, 3)
    with pytest.raises(UserError, match=r"unknown model .* choose from demo, demo-frames, .*i3d"):
        load_model(name)


def test_no_classes_is_refused():
    with pytest.raises(UserError, match=r"at least 1 class, got 0"):
        build_model("i3d", 0)


def test_what_is_saved_is_what_is_loaded(saved, clips):
    path, network, spec = saved
    classifier = load_model(path)
    assert classifier.spec == spec
    wanted = network(clips.astype(np.float32) * (2 / 255) - 1, training=False)
    np.testing.assert_allclose(classifier(clips), np.asarray(wanted), rtol=1e-4, atol=1e-5)
    assert sorted(p.name for p in path.parent.iterdir()) == ["small.json", "small.keras"]
    assert classifier.weights_sha256 == json.loads(path.with_suffix(".json").read_text())["sha256"]


def test_the_optimiser_stays_behind(saved, clips):
    path, network, spec = saved
    network.compile("adam", "mse")
    network.fit(clips.astype(np.float32), np.zeros((2, 2)), verbose=0)
    save_model(network, path, spec)
    with zipfile.ZipFile(path) as box:
        assert not json.loads(box.read("config.json")).get("compile_config")
    trained = keras.models.load_model(path)
    assert not trained.compiled
    for got, wanted in zip(trained.trainable_variables, network.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))


def test_a_model_is_saved_with_as_many_classes_as_logits(tmp_path):
    with pytest.raises(UserError, match=r"three has 3 classes but gives 2 logits"):
        save_model(small_network(), tmp_path / "x.keras", Spec("three", ("a", "b", "c"), PROTOCOL))
    with pytest.raises(UserError, match=r"saved as .keras, not as x.h5"):
        save_model(small_network(), tmp_path / "x.h5", Spec("two", ("a", "b"), PROTOCOL))
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_classes_and_value_range_win(saved):
    path, _, _ = saved
    classifier = load_model(path, classes=["yes", "no"], value_range=(0.0, 255.0))
    assert (classifier.spec.classes, classifier.spec.value_range) == (("yes", "no"), (0.0, 255.0))
    with pytest.raises(UserError, match=r"small has 2 classes, 3 names were given"):
        load_model(path, classes=["yes", "no", "maybe"])


def test_a_model_without_its_spec_needs_classes(saved, clips):
    path, _, _ = saved
    with_spec = load_model(path, value_range=(0.0, 1.0))(clips)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"has no small.json beside it, which names its classes"):
        load_model(path)
    classifier = load_model(path, classes=["yes", "no"])
    assert (classifier.spec.protocol, classifier.spec.value_range) == (Protocol(), (0.0, 1.0))
    np.testing.assert_array_equal(classifier(clips), with_spec)
    with pytest.raises(UserError, match=r"has 1 classes but gives 2 logits"):
        load_model(path, classes=["yes"])


def test_without_a_spec_the_network_s_own_size_is_taken(tmp_path):
    frames = layers.Input((5, 16, 20, 3))
    keras.Model(frames, layers.Dense(2)(layers.Flatten()(frames))).save(tmp_path / "fixed.keras")
    protocol = load_model(tmp_path / "fixed.keras", classes=["a", "b"]).spec.protocol
    assert (protocol.num_frames, protocol.frame_size) == (5, (16, 20))


def test_damaged_and_missing_files(saved, tmp_path):
    path, _, _ = saved
    with pytest.raises(UserError, match=r"there is no model file .*none.keras"):
        load_model(tmp_path / "none.keras")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"its sha256 differs"):
        load_model(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"cannot be read as a Keras model"):
        load_model(path, classes=["a", "b"])
    with pytest.raises(UserError, match=r"there is no model file or folder"):
        load_model(tmp_path / "no" / "such")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"neither a .keras file nor a SavedModel folder"):
        load_model(tmp_path / "notes.txt")


def test_an_architecture_needs_weights_of_its_own(saved):
    path, _, _ = saved
    with pytest.raises(
        UserError, match=r"give --weights the name of published ones \(kinetics400, kinetics600\), or a F"
    ):
        load_model("i3d")
    with pytest.raises(UserError, match=r"holds small, not i3d"):
        load_model("i3d", weights=path)
    with pytest.raises(UserError, match=r"demo brings its own weights; weights go with .*i3d"):
        load_model("demo", weights=path)
    with pytest.raises(
        UserError, match=r"nobody published weights of tiny2plus1d: it takes a .keras file, not model.ckpt"
    ):
        load_model("tiny2plus1d", weights="model.ckpt")


def test_an_architecture_with_a_keras_file(tmp_path, clips):
    network = build_model("tiny2plus1d", 2)
    save_model(network, tmp_path / "t.keras", Spec("mine", ("a", "b"), PROTOCOL))
    by_name = load_model("tiny2plus1d", weights=tmp_path / "t.keras")(clips)
    np.testing.assert_array_equal(by_name, load_model(tmp_path / "t.keras")(clips))


@pytest.mark.parametrize(("num_classes", "prefix"), [(400, "RGB/inception_i3d/"), (600, "")])
def test_i3d_with_deepminds_checkpoint(tmp_path, num_classes, prefix):
    from test_weights import deepmind_name

    network = build_model("i3d", num_classes)
    tensors = {prefix + deepmind_name(v.path): np.asarray(v) for v in network.variables if "seed" not in v.path}
    if not prefix:
        tensors = {k: v.reshape(1, 1, 1, 1, -1) if "batch_norm" in k else v for k, v in tensors.items()}
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    classifier = load_model("i3d", weights=tmp_path / "model.ckpt")
    assert classifier.spec.classes == kinetics_classes(str(num_classes))
    assert (classifier.spec.value_range, classifier.spec.protocol.num_frames) == ((-1.0, 1.0), 250)
    clip = np.random.default_rng(0).integers(0, 256, (1, 9, 193, 193, 3), dtype=np.uint8)
    wanted = np.asarray(network(clip.astype(np.float32) * (2 / 255) - 1, training=False))
    np.testing.assert_allclose(classifier(clip), wanted, rtol=1e-3, atol=1e-4 * wanted.std())


def test_the_demo_models_are_looked_for_in_the_repository(monkeypatch, tmp_path, saved, clips):
    path, _, spec = saved
    monkeypatch.setitem(models.FILES, "demo", path)
    assert load_model("demo").spec == spec
    monkeypatch.setitem(models.FILES, "demo", tmp_path / "gone.keras")
    with pytest.raises(UserError, match=r"there is no model file .*gone.keras"):
        load_model("demo")


def test_kinetics_classes_can_all_be_told_apart():
    for version in ("400", "600", "700"):
        names = kinetics_classes(version)
        assert len(Spec("k", names, PROTOCOL).classes) == int(version)
        assert list(names) == sorted(names)
    with pytest.raises(UserError, match=r"unknown version of Kinetics '500'"):
        kinetics_classes("500")


def test_a_spec_whose_frames_do_not_fit_the_network_is_not_saved(tmp_path):
    frames = layers.Input((None, 16, 20, 3))
    network = keras.Model(frames, layers.Dense(2)(layers.GlobalAveragePooling3D()(frames)), name="sized")
    with pytest.raises(UserError, match=r"shows frames of 16×16, the network takes 16×20"):
        save_model(network, tmp_path / "sized.keras", Spec("sized", ("a", "b"), PROTOCOL))
    assert not list(tmp_path.iterdir())
