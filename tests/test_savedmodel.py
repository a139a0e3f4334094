"""SavedModels of every kind that a user may have: TensorFlow 2, TF1 Hub, uint8, and what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from vidbench.data.protocol import Protocol
from vidbench.models import load_model
from vidbench.models.savedmodel import read_signature
from vidbench.models.spec import Spec, write_spec
from vidbench.utils import UserError

CLASSES = ("a", "b", "c", "d")
PROTOCOL = Protocol(num_frames=4, resize="exact", resize_to=(8, 8), crop=None)
WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 3, 3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(1).integers(0, 256, (3, 4, 8, 8, 3), dtype=np.uint8)


def network(x, weights):
    """(B, T, H, W, 3) float32 → (B, 4): a convolution and a mean."""
    return tf.reduce_mean(tf.nn.relu(tf.nn.conv3d(x, weights, [1] * 5, "SAME")), [1, 2, 3])


def wanted(clips, low=0.0, high=1.0):
    return network(clips.astype(np.float32) * ((high - low) / 255) + low, WEIGHTS).numpy()


def save(folder, inputs=None, signature="default", output="logits", function=network, more=()):
    """A TensorFlow 2 SavedModel whose function has the given inputs (TensorSpecs)."""
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)
    inputs = inputs or [tf.TensorSpec((None, None, None, None, 3), tf.float32, "frames")]

    @tf.function(input_signature=inputs)
    def run(x, *others):
        return {output: function(tf.cast(x, tf.float32), module.weights), **{name: tf.constant(0.0) for name in more}}

    tf.saved_model.save(module, str(folder), signatures={signature: run})
    return folder


def save_hub_format(folder, resource, function=network):
    """A module as TF1 Hub writes it: no tags, signature "default", output "default", variables by name."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        frames = v1.placeholder(tf.float32, (None, None, 8, 8, 3), "rgb_input")
        with v1.variable_scope("RGB", use_resource=resource):
            weights = v1.get_variable("w", initializer=WEIGHTS)
        v1.get_variable("unused", (2,), use_resource=resource)
        logits = function(frames, weights)
        signature = v1.saved_model.signature_def_utils.build_signature_def(
            {"rgb": v1.saved_model.utils.build_tensor_info(frames)},
            {"default": v1.saved_model.utils.build_tensor_info(logits)},
            "video",
        )
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, [], {"default": signature})
            builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("signature", ["default", "serving_default", "mine"])
def test_any_signature_name_is_found(tmp_path, clips, signature):
    folder = save(tmp_path / "m", signature=signature)
    classifier = load_model(folder, classes=CLASSES)
    close(classifier(clips), wanted(clips))
    assert (classifier.spec.name, classifier.network, classifier.spec.value_range) == ("m", None, (0.0, 1.0))
    assert classifier.gflop(4, (8, 8)) == pytest.approx(2 * 4 * 8 * 8 * 4 * 81 / 1e9)


def test_a_value_range_is_applied(tmp_path, clips):
    classifier = load_model(save(tmp_path / "m"), classes=CLASSES, value_range=(-1.0, 1.0))
    close(classifier(clips), wanted(clips, -1.0, 1.0))


@pytest.mark.parametrize("place", ["m.json", "m/spec.json"])
def test_the_spec_lies_beside_or_inside(tmp_path, clips, place):
    folder = save(tmp_path / "m")
    spec = Spec("mine", CLASSES, PROTOCOL, value_range=(-1.0, 1.0))
    write_spec(tmp_path / place, spec, folder)
    classifier = load_model(folder)
    assert classifier.spec == spec
    close(classifier(clips), wanted(clips, -1.0, 1.0))
    assert classifier.weights_sha256 == json.loads((tmp_path / place).read_text())["sha256"]


def test_a_spec_of_other_weights_is_refused(tmp_path):
    folder = save(tmp_path / "m")
    write_spec(tmp_path / "m.json", Spec("mine", CLASSES, PROTOCOL), folder)
    data = next((folder / "variables").glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"its sha256 differs"):
        load_model(folder)


def test_without_a_spec_the_classes_are_needed_and_must_be_as_many(tmp_path):
    folder = save(tmp_path / "m")
    with pytest.raises(UserError, match=r"has no spec \(m.json beside it or spec.json inside\): name its classes"):
        load_model(folder)
    with pytest.raises(UserError, match=r"m has 3 classes but gives 4 logits"):
        load_model(folder, classes=CLASSES[:3])


def test_class_counts_that_the_graph_hides_are_checked_when_it_runs(tmp_path, clips):
    hidden = tf.TensorSpec((None, None, None, None, None), tf.float32)

    def function(x, weights):
        return tf.raw_ops.PlaceholderWithDefault(input=network(x[..., :3], weights), shape=(None, None))

    classifier = load_model(save(tmp_path / "m", [hidden], function=function), classes=CLASSES[:2])
    with pytest.raises(UserError, match=r"m has 2 classes but gives 4 logits"):
        classifier(clips)


def test_uint8_models_get_the_pixels_as_they_are(tmp_path, clips):
    pixels = tf.TensorSpec((None, None, 8, 8, 3), tf.uint8, "frames")
    folder = save(tmp_path / "m", [pixels])
    write_spec(tmp_path / "m.json", Spec("m", CLASSES, PROTOCOL, value_range=(-1.0, 1.0)), folder)
    close(load_model(folder)(clips), network(clips.astype(np.float32), WEIGHTS))
    with pytest.raises(UserError, match=r"takes uint8 pixels and scales them itself"):
        load_model(folder, value_range=(0.0, 1.0))


def test_a_fixed_batch_and_size_are_respected(tmp_path, clips):
    folder = save(tmp_path / "m", [tf.TensorSpec((2, 4, 8, 8, 3), tf.float32, "frames")])
    classifier = load_model(folder, classes=CLASSES)
    assert classifier.clips_at_once == 2
    close(classifier(clips), wanted(clips))
    assert classifier.gflop(4, (8, 8)) == pytest.approx(2 * 4 * 8 * 8 * 4 * 81 / 1e9)
    with pytest.raises(UserError, match=r"takes frames × height × width of 4 × 8 × 8, got 3 × 8 × 8"):
        classifier(clips[:, :3])


@pytest.mark.parametrize("resource", [False, True], ids=["reference variables", "resource variables"])
def test_tf1_hub_s_format(tmp_path, clips, resource):
    folder = save_hub_format(tmp_path / "m", resource)
    classifier = load_model(folder, classes=CLASSES)
    close(classifier(clips), wanted(clips))
    own = tf.saved_model.load(str(folder), tags=[]).signatures["default"]
    pixels = tf.constant(clips / 255, tf.float32)
    close(classifier(clips), own(rgb=pixels)["default"].numpy())
    assert classifier.gflop(4, (8, 8)) == pytest.approx(2 * 4 * 8 * 8 * 4 * 81 / 1e9)


def test_of_several_graphs_that_for_serving_is_taken(tmp_path, clips):
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(tmp_path / "m"))
    for number, tags in enumerate((["train"], ["serve"])):
        with tf.Graph().as_default(), v1.Session() as session:
            frames = v1.placeholder(tf.float32, (None, None, 8, 8, 3))
            weights = v1.get_variable("w", initializer=WEIGHTS, use_resource=True)
            logits = network(frames, weights) + (100.0 if tags == ["train"] else 0.0)
            info = v1.saved_model.utils.build_tensor_info
            signature = v1.saved_model.signature_def_utils.build_signature_def(
                {"x": info(frames)}, {"y": info(logits)}, "video"
            )
            session.run(v1.global_variables_initializer())
            if number == 0:
                builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
            else:
                builder.add_meta_graph(tags, {"serving_default": signature})
    builder.save()
    close(load_model(tmp_path / "m", classes=CLASSES)(clips), wanted(clips))


@pytest.mark.parametrize("kind", ["tf2", "tf1"])
def test_bfloat16_is_near(tmp_path, clips, kind):
    """One more layer, so that there is one before the head, which stays float32."""

    def two(x, weights):
        return network(tf.nn.relu(tf.nn.conv3d(x, weights, [1] * 5, "SAME"))[..., :3], weights)

    folder = tmp_path / "m"
    save(folder, function=two) if kind == "tf2" else save_hub_format(folder, False, two)
    exact = load_model(folder, classes=CLASSES)(clips)
    near = load_model(folder, classes=CLASSES, precision="bfloat16")(clips)
    assert not np.array_equal(near, exact)
    np.testing.assert_allclose(near, exact, rtol=0.02)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            [tf.TensorSpec((None, 4, 8, 8, 3), tf.float32, "frames"), tf.TensorSpec((None, 4), tf.float32, "audio")],
            r"must have one input, the video; it has 2: .*audio \(None, 4\) float32",
        ),
        ([tf.TensorSpec((None, 8, 8, 3), tf.float32, "image")], r"must take \(B, T, H, W, 3\); its input is image"),
        ([tf.TensorSpec((None, 4, 8, 8, 1), tf.float32, "x")], r"must take \(B, T, H, W, 3\); its input is x"),
        ([tf.TensorSpec((None, 4, 8, 8, 3), tf.int32, "x")], "must take uint8 pixels or floats; its input is x"),
    ],
)
def test_other_inputs_are_refused(tmp_path, inputs, message):
    folder = save(tmp_path / "m", inputs, function=lambda x, weights: tf.zeros((1, 4)) + tf.reduce_sum(weights))
    with pytest.raises(UserError, match=message):
        load_model(folder, classes=CLASSES)


def test_of_several_outputs_the_logits_are_taken(tmp_path, clips):
    close(load_model(save(tmp_path / "m", more=["features"]), classes=CLASSES)(clips), wanted(clips))
    folder = save(tmp_path / "n", output="one", more=["two"])
    with pytest.raises(UserError, match=r"must give one output of logits \(B, classes\); it gives .*two"):
        load_model(folder, classes=CLASSES)


def test_an_output_of_another_rank_is_refused(tmp_path):
    folder = save(tmp_path / "m", function=lambda x, weights: x)
    with pytest.raises(UserError, match=r"must give one output of logits"):
        load_model(folder, classes=CLASSES)


def test_several_signatures_without_a_usual_name_are_refused(tmp_path):
    module = tf.Module()
    module.run = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"one": module.run, "two": module.run})
    with pytest.raises(UserError, match=r"has no signature to choose: one, two"):
        read_signature(tmp_path / "m")


def test_damaged_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is no SavedModel folder: it holds no saved_model.pb"):
        load_model(tmp_path / "empty", classes=CLASSES)
    folder = save(tmp_path / "m")
    (folder / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(UserError, match=r"cannot be read as a SavedModel"):
        load_model(folder, classes=CLASSES)
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match=r"it holds no graph"):
        load_model(folder, classes=CLASSES)
    folder = save(tmp_path / "n")
    next((folder / "variables").glob("*.data-*")).unlink()
    with pytest.raises(UserError, match=r"cannot be read as a SavedModel"):
        load_model(folder, classes=CLASSES)
