"""What a run begins with, and that every family of networks can learn."""

import keras
import numpy as np
import pytest
from test_zoo import OPTIONS, smallest

from vidbench.data.train_loader import Batch
from vidbench.models import build_model, load_model, network_classifier
from vidbench.models.registry import ARCHITECTURES, find_architecture
from vidbench.runtimes import on_jax
from vidbench.runtimes.precision import keep_short_kernels
from vidbench.train.loop import Training
from vidbench.train.network import start_from, take_weights, with_dropout
from vidbench.train.plan import Plan
from vidbench.utils import UserError

FAMILIES = sorted(
    {architecture.build.__module__: name for name, architecture in sorted(ARCHITECTURES.items())}.values()
)
MOST_STEPS = 60


def drawn_clips(name):
    """Eight clips: a bright bar that runs right in four of them, left in the others, each over its own ground."""
    num_frames, height, width = smallest(name)
    rng = np.random.default_rng(0)
    clips = np.repeat(rng.integers(0, 120, (8, 1, height, width, 3), dtype=np.uint8), num_frames, axis=1)
    for number, clip in enumerate(clips):
        for index, frame in enumerate(clip):
            left = index * (width - 8) // (num_frames - 1)
            left = left if number < 4 else width - 8 - left
            frame[:, left : left + 8] = 255
    return clips, np.arange(8) // 4


def same(some, other):
    """Whether two networks or layers have the same weights."""
    return all(np.array_equal(a, b) for a, b in zip(some.get_weights(), other.get_weights(), strict=True))


@pytest.mark.skipif(on_jax(), reason="the steps are compared there in test_train_plan")
@pytest.mark.parametrize("name", FAMILIES)
def test_eight_drawn_clips_are_learnt_by_heart(name):
    keras.utils.set_random_seed(0)
    network = build_model(name, 2, **OPTIONS.get(name, {}))
    if any(isinstance(layer, keras.layers.Dropout) for layer in network.layers):
        network = with_dropout(network, 0.0)
    clips, labels = drawn_clips(name)
    spec = find_architecture(name).spec(classes=("right", "left"))
    training = Training(network, network_classifier(network, spec), Plan(optimizer="adam", weight_decay=0))
    batch = Batch(clips, np.eye(2, dtype=np.float32)[labels], np.ones(8, np.float32))
    losses = []
    while len(losses) < MOST_STEPS and (not losses or losses[-1][1] < 8 or losses[-1][0] > 0.3):
        losses.append(training.step(batch, 3e-4 if name == "fstcn" else 1e-3))
    keras.utils.clear_session()
    assert losses[-1][1] == 8 and losses[-1][0] < 0.3, losses[-5:]


def test_the_same_classes_in_another_order_go_on_in_the_models_order():
    demo = load_model("demo")
    start = start_from("demo", sorted(demo.spec.classes, reverse=True))
    assert start.spec.classes == demo.spec.classes and start.weights == "all weights of demo"
    assert all(
        np.array_equal(a, b) for a, b in zip(start.network.get_weights(), demo.network.get_weights(), strict=True)
    )


def test_other_classes_keep_all_but_the_last_layer():
    demo = load_model("demo")
    start = start_from("tiny2plus1d", ("a", "b"), "demo")
    assert start.spec.classes == ("a", "b") and not start.spec.published
    assert start.spec.mean == demo.spec.mean and start.weights == "weights of demo, the last layer anew"
    for layer in start.network.layers:
        assert layer.name == "logits" or same(layer, demo.network.get_layer(layer.name))


def test_kernels_are_summed_or_spread_over_time():
    def network(span):
        frames = keras.Input((None, 4, 4, 3))
        x = keras.layers.Conv3D(2, (span, 1, 1), name="time")(frames)
        x = keras.layers.GlobalAveragePooling3D(name="pool")(x)
        return keras.Model(frames, keras.layers.Dense(2, name="logits")(x), name=f"span{span}")

    one, three = network(1), network(3)
    kernel = three.get_layer("time").get_weights()[0]
    take_weights(one, three)
    assert np.allclose(one.get_layer("time").get_weights()[0], kernel.sum(axis=0, keepdims=True))
    take_weights(three, one)
    assert np.allclose(three.get_layer("time").get_weights()[0], np.repeat(kernel.sum(axis=0, keepdims=True) / 3, 3, 0))
    before = one.get_weights()
    with pytest.raises(UserError, match=r"the layer 'time' of span2 has .*, span3 wants"):
        take_weights(three, network(2))
    with pytest.raises(UserError, match="span1 has no layer 'stem', as tiny2plus1d wants"):
        take_weights(build_model("tiny2plus1d", 2), one)
    assert all(np.array_equal(a, b) for a, b in zip(before, one.get_weights(), strict=True))


def test_the_twin_begins_with_the_demos_kernels():
    start = start_from("tiny2plus1d_frames", load_model("demo").spec.classes, "demo")
    stem = load_model("demo").network.get_layer("stem_time").get_weights()[0]
    assert np.allclose(start.network.get_layer("stem_time").get_weights()[0], stem.sum(axis=0, keepdims=True))


def test_dropout_is_changed_in_a_copy():
    network = build_model("x3d_xs", 2)
    copy = with_dropout(network, 0.1)
    rates = [layer.rate for layer in copy.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.1] and copy.name == network.name
    assert same(network, copy)
    with pytest.raises(UserError, match="dropout must lie between 0 and 1, got 1"):
        with_dropout(network, 1.0)


def test_kernels_longer_than_their_input_stay_in_float32():
    """16 frames are 2 in the last stage of R(2+1)D, whose kernels are 3 long; 4 are 2 in the tiny network's."""
    network = start_from("r2plus1d_18", ("a", "b"), precision="bfloat16").network
    names = keep_short_kernels(network, (16, 112, 112, 3))
    assert names and all(name.startswith("layer4_") for name in names) and "layer4_1_conv2_conv" in names
    assert network.get_layer("layer4_1_conv2_conv").compute_dtype == "float32"
    assert network.get_layer("layer3_1_conv2_conv").compute_dtype == "bfloat16"
    tiny = start_from("tiny2plus1d", ("a", "b"), precision="bfloat16").network
    assert keep_short_kernels(tiny, (4, 96, 128, 3)) == ["block4_time"]
    assert keep_short_kernels(tiny, (16, 96, 128, 3)) == []


def test_bfloat16_keeps_the_weights_and_the_last_layer_in_float32():
    network = start_from("tiny2plus1d", ("a", "b"), precision="bfloat16").network
    assert network.get_layer("stem").compute_dtype == "bfloat16"
    assert network.get_layer("logits").compute_dtype == "float32"
    assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
