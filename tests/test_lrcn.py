"""LRCN: what its backbone is given, what the order of the frames means, and how the steps become one prediction."""

import keras
import numpy as np
import pytest

from vidbench.models import gflop
from vidbench.models.lrcn import PROTOCOL, BackboneRange, LogMeanSoftmax, lrcn
from vidbench.models.registry import ARCHITECTURES
from vidbench.utils import UserError

STEPS, HIDDEN = 5, 12  # steps are not as many as clips: an axis mistaken for another shows


def build(**options) -> keras.Model:
    """A network of seven classes on the backbone that is the quickest to build."""
    keras.utils.set_random_seed(0)
    return lrcn(7, backbone="mobilenet", hidden=HIDDEN, **options)


def across_frames(network: keras.Model) -> keras.Model:
    """What comes after the backbone: (B, T, F) → (B, N). An untrained backbone's own features are next to nothing."""
    return keras.Model(network.get_layer("unfold").output, network.output)


def settle(network: keras.Model, clips) -> keras.Model:
    """Batch normalisation learns its statistics from `clips`, as if trained: features of ordinary size."""
    for layer in network.get_layer("backbone").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(clips, training=True)
    return network


def output(model, x) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


def change(model, features, others) -> float:
    """How far the predictions move, beside their size."""
    wanted = output(model, features)
    return float(np.abs(output(model, others) - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).uniform(-1, 1, (2, STEPS, 32, 48, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(1).normal(size=(3, STEPS, 1024)).astype(np.float32)


@pytest.fixture(scope="module")
def network(clips):
    return settle(build(), clips)


def test_it_is_registered():
    assert ARCHITECTURES["lrcn"].build is lrcn
    assert (PROTOCOL.num_frames, PROTOCOL.frame_size) == (16, (224, 224))


@pytest.mark.parametrize("fusion", ["mean", "last", "attention"])
@pytest.mark.parametrize("reader", ["lstm", "both_ways", "frames"])
def test_every_combination_gives_finite_float32_logits(clips, features, fusion, reader):
    network = build(fusion=fusion, bidirectional=reader == "both_ways", recurrent=reader != "frames")
    logits = output(network, clips)
    assert network.name == "lrcn" and network.output.shape == (None, 7)
    assert logits.shape == (2, 7) and logits.dtype == np.float32 and np.isfinite(logits).all()
    assert [v.path for v in network.variables if v.path.startswith("logits")] == [
        "logits_dense/kernel",
        "logits_dense/bias",
    ]
    assert any("lstm" in v.path for v in network.variables) == (reader != "frames")
    assert np.ptp(output(across_frames(network), features), axis=0).min() > 1e-4


def test_any_number_of_frames_and_any_size(network):
    for shape in ((1, 1, 32, 32, 3), (1, 7, 50, 33, 3)):
        assert output(network, np.zeros(shape, np.float32)).shape == (1, 7)


def test_the_order_of_the_frames_counts(network, clips):
    assert change(network, clips, clips[:, ::-1]) > 1e-3
    assert change(network, clips, clips[:, [0, 2, 1, 3, 4]]) > 1e-3


@pytest.mark.parametrize("fusion", ["mean", "attention"])
def test_without_the_lstm_the_order_does_not_count(features, fusion):
    network = across_frames(build(recurrent=False, fusion=fusion))
    wanted = output(network, features)
    for order in (np.arange(STEPS)[::-1], np.random.default_rng(2).permutation(STEPS)):
        np.testing.assert_allclose(output(network, features[:, order]), wanted, atol=1e-5)


def test_without_the_lstm_the_last_frame_alone_can_count(features):
    network = across_frames(build(recurrent=False, fusion="last"))
    early, late = features.copy(), features.copy()
    early[:, :-1] += 1
    late[:, -1] += 1
    assert change(network, features, early) == 0 and change(network, features, late) > 1e-2
    assert change(network, features, features[:, ::-1]) > 1e-2


def test_reading_both_ways_differs_from_forward_alone(features):
    forward, both = (across_frames(build(bidirectional=both)) for both in (False, True))
    assert change(both, features, features[:, ::-1]) > 1e-3
    assert np.abs(output(both, features) - output(forward, features)).max() > 1e-3


def test_the_last_states_are_those_after_a_whole_reading(features):
    network = build(bidirectional=True, fusion="last")
    lstm = network.get_layer("lstm_both_ways")
    states = output(keras.Model(network.get_layer("unfold").output, lstm.output), features)
    forward, backward = lstm.forward_layer, lstm.backward_layer
    np.testing.assert_allclose(states[:, :HIDDEN], output(forward, features), atol=1e-5)
    backward.go_backwards = False
    np.testing.assert_allclose(states[:, HIDDEN:], output(backward, features[:, ::-1]), atol=1e-5)


def test_the_mean_is_that_of_the_steps_probabilities(network, clips):
    steps = output(keras.Model(network.input, network.get_layer("logits_dense").output), clips).astype(np.float64)
    assert steps.shape == (2, STEPS, 7)
    probabilities = np.exp(steps) / np.exp(steps).sum(-1, keepdims=True)
    np.testing.assert_allclose(output(network, clips), np.log(probabilities.mean(1)), atol=1e-5)
    np.testing.assert_allclose(np.exp(output(network, clips)).sum(-1), 1, atol=1e-5)


def test_the_mean_by_hand_and_of_certain_steps():
    # softmax of (ln 3, 0) is (3/4, 1/4), of (0, 0) is (1/2, 1/2): their mean is (5/8, 3/8)
    mean = LogMeanSoftmax()
    np.testing.assert_allclose(
        mean(np.array([[[np.log(3), 0], [0, 0]]], np.float32)), np.log([[5 / 8, 3 / 8]]), atol=1e-6
    )
    sure = np.array([[[1e4, 0, 0], [1e4, 0, 0]]], np.float32)  # probabilities of 0 in float32, but not their logarithms
    np.testing.assert_allclose(mean(sure), [[0, -1e4, -1e4]])


def test_attention_is_a_weighted_mean_of_the_states(features):
    network = build(fusion="attention")
    start, weight = network.get_layer("unfold").output, network.get_layer("attention_weight")
    states, weights = (
        output(keras.Model(start, x), features) for x in (network.get_layer("lstm").output, weight.output)
    )
    assert weights.shape == (3, STEPS, 1) and weights.min() > 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    kernel, bias = network.get_layer("logits_dense").get_weights()
    np.testing.assert_allclose(
        output(across_frames(network), features), (weights * states).sum(1) @ kernel + bias, atol=1e-5
    )


def test_size_of_the_lstm():
    for both_ways, name in ((False, "lstm"), (True, "lstm_both_ways")):
        layer = build(bidirectional=both_ways).get_layer(name)
        assert layer.count_params() == (1 + both_ways) * 4 * HIDDEN * (1024 + HIDDEN + 1)


def test_the_arithmetic_of_every_step_is_counted(network):
    """One step of the LSTM: 4 gates of F and of HIDDEN products a unit; the head: HIDDEN products a class."""
    features = network.get_layer("unfold").output.shape[-1]
    backbone = gflop(keras.Model(network.input, network.get_layer("unfold").output), STEPS, (32, 32))
    wanted = 2 * STEPS * (4 * HIDDEN * (features + HIDDEN) + 7 * HIDDEN) / 1e9
    assert gflop(network, STEPS, (32, 32)) - backbone == pytest.approx(wanted, rel=1e-4)
    assert not network.get_layer("lstm").unroll


def test_the_default_s_size():
    # MobileNetV2's 2,257,984 and an LSTM of 512 units on its 1,280 features, then the head
    assert lrcn(400).count_params() == 2_257_984 + 4 * 512 * (1280 + 512 + 1) + 400 * 513


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50", "densenet121", "efficientnet_v2_b0"])
def test_the_backbone_gets_what_its_own_preprocessing_makes_of_0_to_255(backbone):
    pixels = np.random.default_rng(3).integers(0, 256, (2, 5, 4, 3)).astype(np.float32)
    home = {"densenet121": "densenet", "efficientnet_v2_b0": "efficientnet_v2"}.get(backbone, backbone)
    wanted = getattr(keras.applications, home).preprocess_input(pixels.copy())
    np.testing.assert_allclose(output(BackboneRange(backbone), pixels / 127.5 - 1), wanted, atol=1e-4)


def test_the_backbone_s_range_by_hand():
    pixels = np.array([[[[-1, 0, 1]]]], np.float32)  # red, green, blue: 0, 127.5 and 255
    np.testing.assert_allclose(output(BackboneRange("mobilenet_v2"), pixels), pixels, atol=1e-6)
    caffe = [255 - 103.939, 127.5 - 116.779, 0 - 123.68]  # blue, green, red less ImageNet's mean
    np.testing.assert_allclose(output(BackboneRange("resnet50"), pixels)[0, 0, 0], caffe, atol=1e-4)
    np.testing.assert_allclose(output(BackboneRange("efficientnet_v2_b0"), pixels)[0, 0, 0], [0, 127.5, 255], atol=1e-4)


def test_a_backbone_of_another_kind_is_fed_by_its_own_range():
    network = lrcn(2, backbone="vgg16", hidden=4, recurrent=False)
    assert network.get_layer("backbone_range").backbone == "vgg16"
    assert output(network, np.zeros((1, 2, 32, 32, 3), np.float32)).shape == (1, 2)


def test_an_untrained_backbone_learns_its_statistics_quickly(network, tmp_path):
    def momenta(network):
        norms = [x for x in network.get_layer("backbone").layers if isinstance(x, keras.layers.BatchNormalization)]
        return {norm.momentum for norm in norms}

    assert momenta(build()) == {0.9}  # Keras's own networks have 0.99 or more
    path = tmp_path / "backbone.weights.h5"
    network.get_layer("backbone").save_weights(path)
    assert momenta(build(backbone_weights=path)) == {0.99}


def test_weights_of_a_file(network, tmp_path):
    backbone = network.get_layer("backbone")
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    loaded = build(backbone_weights=tmp_path / "backbone.weights.h5").get_layer("backbone")
    pairs = zip(loaded.get_weights(), backbone.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    (tmp_path / "text.txt").write_text("no weights")
    with pytest.raises(UserError, match=r"cannot load '.*text\.txt' into mobilenet"):
        build(backbone_weights=tmp_path / "text.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "mobilenet_v22"}, "unknown backbone 'mobilenet_v22'; did you mean 'mobilenet_v2'?"),
        ({"backbone": "nasnet_mobile"}, "unknown backbone 'nasnet_mobile'"),
        ({"backbone_weights": "imagnet"}, "backbone_weights is None, 'imagenet' or a file, got 'imagnet'"),
        ({"fusion": "max"}, "unknown fusion 'max'; .*choose from attention, last, mean"),
        ({"hidden": 0}, "hidden is at least 1"),
        ({"dropout": 1.0}, "dropout in 0"),
        ({"recurrent": False, "bidirectional": True}, "bidirectional=True needs recurrent=True"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message) as caught:
        lrcn(7, **options)
    assert "\n" not in str(caught.value)


def test_saved_and_loaded_agree(network, clips, tmp_path):
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(output(network, clips), output(loaded, clips))


@pytest.mark.parametrize("options", [{}, {"fusion": "attention", "bidirectional": True}])
def test_gradients_reach_every_variable(clips, options):
    import tensorflow as tf

    network = build(**options)
    with tf.GradientTape() as tape:
        loss = -keras.ops.mean(network(clips, training=True)[:, 0])
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path


@pytest.mark.parametrize("options", [{}, {"fusion": "last", "bidirectional": True}, {"fusion": "attention"}])
def test_eager_equals_a_graph_with_open_shapes(clips, options):
    import tensorflow as tf

    network = settle(build(**options), clips)
    graph = tf.function(lambda x: network(x, training=False), [tf.TensorSpec((None, None, None, None, 3), tf.float32)])
    for num_frames in (STEPS, 3):
        few = clips[:, :num_frames]
        np.testing.assert_allclose(graph(few).numpy(), output(network, few), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"fusion": "attention", "bidirectional": True}])
def test_the_head_stays_float32_in_bfloat16(clips, options):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(**options)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = output(settle(network, clips), clips)
    assert (
        network.get_layer("logits_dense").compute_dtype == "float32"
        and network.get_layer("unfold").output.dtype != "float32"
    )
    assert logits.dtype == np.float32 and np.isfinite(logits).all() and np.ptp(logits) > 1e-3
