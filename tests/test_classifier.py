"""The classifier: pixels to logits, the same whatever the batch, with clear refusals."""

import logging

import keras
import numpy as np
import pytest
from keras import layers, ops

from vidbench.data.protocol import Protocol
from vidbench.models import gflop, load_model
from vidbench.models.classifier import network_classifier
from vidbench.models.spec import Spec
from vidbench.runtimes import devices
from vidbench.runtimes.tensorflow import KEPT_SHAPES
from vidbench.utils import UserError

PROTOCOL = Protocol(num_frames=4, resize="exact", resize_to=(16, 16), crop=None)


def spec(num_classes=3, **changes):
    return Spec("small", tuple(f"class {i}" for i in range(num_classes)), PROTOCOL, **changes)


def small_network(num_classes=3, shape=(None, None, None, 3)):
    """Two convolutions, batch norm and a dense head, with weights drawn from one seed."""
    keras.utils.set_random_seed(0)
    x = frames = layers.Input(shape, name="frames")
    x = layers.Conv3D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv3D(16, 3, 1, padding="same")(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(frames, layers.Dense(num_classes)(x), name="small")


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def classifier(network):
    return network_classifier(network, spec(value_range=(-1.0, 1.0)))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 16, 16, 3), dtype=np.uint8)


def test_it_is_the_network_of_scaled_pixels(network, classifier, clips):
    logits = classifier(clips)
    assert (logits.shape, logits.dtype) == ((5, 3), np.float32)
    wanted = np.asarray(network(clips.astype(np.float32) * (2 / 255) - 1, training=False))
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    assert (classifier.precision, classifier.runtime, classifier.network) == ("float32", "tensorflow", network)


def test_mean_and_std_are_applied_inside(network, clips):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    logits = network_classifier(network, spec(mean=mean, std=std))(clips)
    wanted = network(((clips / 255 - mean) / std).astype(np.float32), training=False)
    np.testing.assert_allclose(logits, np.asarray(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_clip_s_logits_are_the_same_bits_in_any_batch_and_place(network, clips, at_once):
    classifier = network_classifier(network, spec())
    classifier.clips_at_once = at_once
    whole = classifier(clips)
    for size in (1, 2, 3, 5):
        parts = np.concatenate([classifier(clips[i : i + size]) for i in range(0, len(clips), size)])
        np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(classifier(clips[::-1])[::-1], whole)


def test_the_graph_sees_a_constant_number_of_clips(network, clips):
    classifier = network_classifier(network, spec())
    run, seen = classifier._runtime, []

    def counting(frames):
        seen.append(len(frames))
        return run(frames)

    classifier._runtime = counting
    classifier.clips_at_once = 2
    assert classifier(clips).shape == (5, 3)
    assert seen == [2, 2, 2]


def test_an_empty_batch_gives_no_logits(classifier):
    assert classifier(np.zeros((0, 4, 16, 16, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 16, 16, 3), np.uint8),
        np.zeros((1, 4, 16, 16, 3), np.float32),
        np.zeros((1, 4, 16, 16, 1), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(classifier, frames):
    with pytest.raises(UserError, match=r"small takes \(B, T, H, W, 3\) uint8 frames"):
        classifier(frames)


def test_too_few_frames_are_refused(network, clips):
    classifier = network_classifier(network, spec(min_frames=4))
    assert classifier(clips).shape == (5, 3)
    with pytest.raises(UserError, match="at least 4 frames a view, got 3"):
        classifier(clips[:, :3])


def test_a_network_of_fixed_size_says_so(clips):
    classifier = network_classifier(small_network(shape=(4, 16, 16, 3)), spec())
    assert classifier(clips).shape == (5, 3)
    with pytest.raises(UserError, match="takes frames × height × width of 4 × 16 × 16, got 4 × 16 × 12"):
        classifier(clips[:, :, :, :12])


def test_logits_that_are_no_numbers_are_an_error(clips):
    frames = layers.Input((None, None, None, 3))
    network = keras.Model(frames, ops.log(-1 - layers.GlobalAveragePooling3D()(frames)), name="nan")
    with pytest.raises(UserError, match=r"gave no numbers for 4 frames of 16 × 16"):
        network_classifier(network, spec())(clips)


def test_a_view_too_short_for_the_pools_is_a_clear_error(clips):
    frames = layers.Input((None, None, None, 3))
    nowhere = layers.AveragePooling3D(5, 1)(frames)
    network = keras.Model(frames, layers.GlobalAveragePooling3D()(nowhere), name="pool")
    with pytest.raises(UserError, match=r"small cannot take 4 frames of 16 × 16: (?!Exception)\w"):
        network_classifier(network, spec())(clips)


def test_a_view_that_tensorflow_refuses_is_a_clear_error(clips):
    frames = layers.Input((None, None, None, 3))
    x = layers.Reshape((4 * 16 * 16 * 3,))(frames)
    classifier = network_classifier(keras.Model(frames, layers.Dense(3)(x), name="flat"), spec())
    assert classifier(clips).shape == (5, 3)
    with pytest.raises(UserError, match="small cannot take 4 frames of 16 × 8"):
        classifier(clips[:, :, :, :8])


def test_classes_must_match_the_logits(network):
    with pytest.raises(UserError, match="small has 4 classes but gives 3 logits"):
        network_classifier(network, spec(num_classes=4))


def test_a_network_of_another_kind_is_refused():
    a, b = layers.Input((4,)), layers.Input((4,))
    with pytest.raises(UserError, match=r"must take one \(B, T, H, W, 3\)"):
        network_classifier(keras.Model([a, b], layers.Dense(3)(a + b)), spec())
    with pytest.raises(UserError, match=r"must take one \(B, T, H, W, 3\)"):
        network_classifier(keras.Model(a, layers.Dense(3)(a)), spec())


def test_bfloat16_is_near_float32_and_its_head_stays_float32(network, classifier, clips):
    half = network_classifier(network, spec(value_range=(-1.0, 1.0)), "bfloat16")
    exact, near = classifier(clips), half(clips)
    assert not np.array_equal(near, exact)
    np.testing.assert_allclose(near, exact, atol=0.03 * exact.std())
    rounded = (near.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what a bfloat16 head would have given
    assert (rounded != near).any()
    np.testing.assert_array_equal(half(clips[2:3])[0], near[2])


def test_a_recurrent_network_runs_too(clips):
    """Its loop is a function inside the graph; TimeDistributed is wrong where the number of frames is left open."""
    keras.utils.set_random_seed(0)
    frames = layers.Input((None, 16, 16, 3))
    x = layers.TimeDistributed(layers.Conv2D(4, 3, 2))(frames)
    x = layers.LSTM(8)(ops.mean(x, axis=(2, 3)))
    network = keras.Model(frames, layers.Dense(3)(x), name="lstm")
    logits = network_classifier(network, spec())(clips)
    wanted = network(clips.astype(np.float32) / 255, training=False)
    np.testing.assert_allclose(logits, np.asarray(wanted), rtol=1e-4, atol=1e-5)


def test_another_backend_is_refused(network, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UserError, match=r"run on tensorflow and jax, KERAS_BACKEND is torch"):
        network_classifier(network, spec())


def test_an_unknown_precision_lists_the_known(network):
    with pytest.raises(UserError, match="float32, bfloat16, int8, got 'int4'"):
        network_classifier(network, spec(), "int4")


def test_a_network_without_products_cannot_be_bfloat16():
    frames = layers.Input((None, None, None, 3))
    network = keras.Model(frames, layers.GlobalAveragePooling3D()(frames), name="mean")
    classifier = network_classifier(network, spec(), "bfloat16")
    with pytest.raises(UserError, match="cannot run this model in bfloat16"):
        classifier(np.zeros((1, 4, 16, 16, 3), np.uint8))


def test_a_cpu_without_bfloat16_is_warned_of(network, caplog, monkeypatch):
    monkeypatch.setattr(devices, "has_arithmetic", lambda precision: False)
    with caplog.at_level(logging.WARNING):
        network_classifier(network, spec(), "bfloat16")
    assert "no bfloat16 arithmetic: bfloat16 will hardly be faster than float32, or slower" in caplog.text


def test_gflop_by_hand(network, classifier):
    """4 frames of 16 × 16: conv 3→8 over 2·8·8 places, conv 8→16 over the same, dense 16→3, 27 taps each."""
    wanted = 2 * (2 * 8 * 8 * 8 * 27 * 3 + 2 * 8 * 8 * 16 * 27 * 8 + 16 * 3) / 1e9
    assert gflop(classifier, 4, (16, 16)) == pytest.approx(wanted)
    assert gflop(network, 4, (16, 16)) == pytest.approx(wanted)
    assert gflop(network_classifier(network, spec(), "bfloat16"), 4, (16, 16)) == pytest.approx(wanted)
    assert gflop(classifier, 8, (16, 16)) > wanted


def test_gflop_of_grouped_and_depthwise_convolutions():
    frames = layers.Input((None, None, None, 3))
    x = layers.Conv3D(6, 1, groups=3)(frames)  # 6 outputs of 1 input each
    x = layers.TimeDistributed(layers.DepthwiseConv2D(3, padding="same"))(x)  # 6 channels of 9 taps
    network = keras.Model(frames, layers.GlobalAveragePooling3D()(x), name="groups")
    assert gflop(network, 2, (4, 4)) == pytest.approx(2 * 2 * 16 * (6 * 1 + 6 * 9) / 1e9)


def test_only_the_last_shapes_are_kept(network):
    classifier = network_classifier(network, spec())
    first = classifier(np.zeros((1, 2, 16, 16, 3), np.uint8))
    for num_frames in range(3, 3 + KEPT_SHAPES):
        classifier(np.zeros((1, num_frames, 16, 16, 3), np.uint8))
    assert len(classifier._runtime._traced) == KEPT_SHAPES
    np.testing.assert_array_equal(classifier(np.zeros((1, 2, 16, 16, 3), np.uint8)), first)


def test_its_name_says_what_it_is(classifier):
    assert repr(classifier) == "Classifier('small', 3 classes, float32, tensorflow)"


def test_a_cpu_takes_clips_one_by_one_a_gpu_in_batches_and_a_fixed_batch_stays(monkeypatch):
    model = load_model("demo")
    model.set_batch_size(5)
    assert model.clips_at_once == 1
    monkeypatch.setattr("vidbench.models.classifier.device_name", lambda: "a GPU")
    model.set_batch_size(5)
    assert model.clips_at_once == 5
    model._fixed_batch = 3
    model.set_batch_size(5)
    assert model.clips_at_once == 3
