"""FstCN: the transformation and permutation, the differences, and the fusion by concentration, by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.models.fstcn import (
    PROTOCOL,
    FrameDifference,
    MiddleFrame,
    SparsityFusion,
    TransformPermute,
    fstcn,
    sparsity_concentration_index,
)
from vidbench.models.registry import ARCHITECTURES
from vidbench.utils import UserError

SIZE, STEPS, HIDDEN = (48, 64), 5, (24, 16)  # steps are not as many as clips: an axis mistaken for another shows


def build(num_classes: int = 7, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return fstcn(num_classes, **{"size": SIZE, "hidden": HIDDEN, **options})


def output(model, x, training=False):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=training))


def until(network: keras.Model, name: str) -> keras.Model:
    """The network as far as the layer of that name."""
    return keras.Model(network.input, network.get_layer(name).output)


def permuted(x, p) -> np.ndarray:
    """(T, H, W, F) through the operator with the matrix `p`."""
    x, p = np.array(x, np.float32), np.array(p, np.float32)
    layer = TransformPermute(p.shape[1])
    layer.build((None, *x.shape))
    layer.kernel.assign(p)
    return keras.ops.convert_to_numpy(layer(x[None]))[0]


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).uniform(-1, 1, (3, STEPS, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def still(clips):
    return np.repeat(clips[:, :1], STEPS, axis=1)


@pytest.fixture(scope="module")
def network():
    return build()


def test_it_is_registered():
    assert ARCHITECTURES["fstcn"].build is fstcn
    assert (PROTOCOL.num_frames, PROTOCOL.frame_size) == (16, (204, 204))


@pytest.mark.parametrize("num_frames", [1, 2, 8])
def test_any_number_of_frames_gives_the_log_of_probabilities(network, num_frames):
    clips = np.random.default_rng(1).uniform(-1, 1, (2, num_frames, *SIZE, 3)).astype(np.float32)
    logits = output(network, clips)
    assert network.name == "fstcn" and network.output.shape == (None, 7)
    assert logits.shape == (2, 7) and logits.dtype == np.float32 and np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(keras.ops.softmax(logits), np.exp(logits), atol=1e-6)


def test_the_layers_of_the_paper_s_size():
    """204 → 102 → 51 → 26 → 13 pixels; the temporal part has 5 * 5 places as channels, 128 features, all frames."""
    network = build(400, size=(204, 204))
    shapes = {layer.name: layer.output.shape for layer in network.layers if layer.name != "difference"}
    assert shapes["space1_pool"] == (None, 51, 51, 96) and shapes["space2_pool"] == (None, 13, 13, 256)
    assert shapes["space4_relu"] == (None, 13, 13, 512) and shapes["clip_space_pool"] == (None, 5, 5, 128)
    assert shapes["difference_transform"] == (None, 128, None, 25)
    assert shapes["difference_kernels"] == (None, 128, None, 64)
    kernels = [tuple(network.get_layer(f"clip_time{edge}").kernel.shape) for edge in (3, 5)]
    assert kernels == [(3, 3, 25, 32), (5, 5, 25, 32)]


def test_size():
    shared = 7 * 7 * 3 * 96 + 5 * 5 * 96 * 256 + 4 * (96 + 256) + 9 * 256 * 512 + 9 * 512 * 512 + 2 * 512
    narrow = 2 * (9 * 512 * 128 + 128)  # of the spatial and of the temporal part
    kernels = 128 * 128 + (9 + 25) * (1 * 2) * 32 + 2 * 32  # 48 × 64 pixels end as 1 × 2 places
    connected = (2 * 128 + 1) * 24 + (128 * 64 + 1) * 24 + 2 * (24 + 1) * 16 + (2 * 16 + 1) * 16
    assert build().count_params() == shared + 2 * (narrow + kernels + connected + (16 + 1) * 7)


def test_all_head_variables_are_named_logits(network):
    heads = [v.path for v in network.variables if v.shape[-1] == 7]
    assert len(heads) == 4 and all(path.startswith("logits_") for path in heads)


def test_the_operator_by_hand():
    # 2 frames of 1 × 2 places with 3 features
    x = [[[[1, 2, 3], [4, 5, 6]]], [[[7, 8, 9], [10, 11, 12]]]]
    order = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]  # the third feature first
    assert permuted(x, order).tolist() == [[[3, 6], [9, 12]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]
    mix = [[1, 0], [1, -1], [0, 2]]  # the sum of the first two, and twice the third less the second
    assert permuted(x, mix).tolist() == [[[3, 9], [15, 21]], [[4, 7], [10, 13]]]


def test_the_operator_reads_places_row_by_row():
    assert permuted([[[[1], [2]], [[3], [4]]]], [[1]]).tolist() == [[[1, 2, 3, 4]]]


def test_the_operator_can_be_undone():
    rng = np.random.default_rng(2)
    x, p = rng.normal(size=(4, 2, 3, 5)), rng.normal(size=(5, 5))
    back = np.einsum("ftp,fg->tpg", permuted(x, p), np.linalg.inv(p))
    np.testing.assert_allclose(back.reshape(x.shape), x, atol=1e-4)


@pytest.mark.parametrize("features", [2, 3, 5])
def test_the_operator_starts_as_the_identity(features):
    x = np.random.default_rng(3).normal(size=(2, 4, 2, 2, 3)).astype(np.float32)
    places = x.reshape(2, 4, 4, 3).transpose(0, 3, 1, 2)
    wanted = np.zeros((2, features, 4, 4), np.float32)
    wanted[:, :3] = places[:, :features]
    np.testing.assert_allclose(output(TransformPermute(features), x), wanted, atol=1e-6)


def test_the_operator_needs_a_fixed_size():
    with pytest.raises(ValueError, match="height, width and features must be fixed"):
        TransformPermute(3)(keras.Input((None, None, 4, 3)))


def test_differences_by_hand():
    x = np.array([1, -4, 9, 3], np.float32).reshape(1, 4, 1, 1, 1)
    for step, wanted in ((1, [5, 13, 6, 0]), (2, [8, 7, 6, 0]), (3, [2, 7, 6, 0]), (9, [2, 7, 6, 0])):
        assert output(FrameDifference(step), x).ravel().tolist() == wanted


@pytest.mark.parametrize(("num_frames", "middle"), [(1, 0), (2, 1), (4, 2), (5, 2)])
def test_the_middle_frame(num_frames, middle):
    x = np.arange(num_frames, dtype=np.float32).reshape(1, num_frames, 1, 1, 1)
    assert output(MiddleFrame(), x).tolist() == [[[[middle]]]]


def test_a_still_clip_has_no_differences(network, clips, still):
    difference = until(network, "difference")
    assert np.array_equal(output(difference, still), np.zeros_like(still))
    moving = np.zeros_like(clips)
    moving[:, :-1] = np.abs(clips[:, 1:] - clips[:, :-1])
    np.testing.assert_allclose(output(difference, clips), moving, atol=1e-6)


def test_the_difference_branch_sees_motion_alone(network, clips, still):
    seen = {name: until(network, f"logits_{name}") for name in ("clip", "difference")}
    other_still = np.repeat(clips[:, 1:2], STEPS, axis=1)
    np.testing.assert_allclose(output(seen["difference"], still), output(seen["difference"], other_still), atol=1e-6)
    assert np.abs(output(seen["clip"], still) - output(seen["clip"], other_still)).max() > 1e-2
    assert np.abs(output(seen["difference"], still) - output(seen["difference"], clips)).max() > 1e-2
    assert np.abs(output(network, still) - output(network, clips)).max() > 1e-2


def test_the_spatial_part_sees_the_middle_frame_alone(network, clips):
    part = until(network, "clip_space_dense2")
    others, middle = clips.copy(), clips.copy()
    others[:, [0, 1, 3, 4]] *= -1
    middle[:, 2] *= -1
    np.testing.assert_allclose(output(part, others), output(part, clips), atol=1e-6)
    assert np.abs(output(part, middle) - output(part, clips)).max() > 1e-2


def test_the_order_of_the_frames_counts(network, clips):
    for order in ([4, 3, 2, 1, 0], [1, 0, 2, 3, 4]):
        assert np.abs(output(network, clips[:, order]) - output(network, clips)).max() > 1e-3


@pytest.mark.parametrize(
    ("p", "index"),
    [
        ([0.25, 0.25, 0.25, 0.25], 0),
        ([0, 0, 1, 0, 0], 1),
        ([0.5, 0.25, 0.25], 0.25),  # (3 * 0.5 - 1) / 2
        ([0.1, 0.8, 0.1], 0.7),
        ([0.75, 0.25], 0.5),
        ([1], 0),
    ],
)
def test_the_index_by_hand(p, index):
    for scale in (1, 8, 1e-3):
        scaled = np.array(p, np.float32) * np.float32(scale)
        assert float(sparsity_concentration_index(scaled)) == pytest.approx(index, abs=1e-6)


@given(st.lists(st.floats(0.0009765625, 1, width=32), min_size=2, max_size=12))
def test_the_index_is_in_0_to_1_and_order_does_not_matter(values):
    p = np.array([values, values[::-1]], np.float32)
    index = keras.ops.convert_to_numpy(sparsity_concentration_index(p))
    assert index.shape == (2,) and (index >= 0).all() and (index <= 1).all()
    assert index[0] == pytest.approx(index[1], abs=1e-5)


def test_fusion_by_hand():
    first, second = np.array([[0.5, 0.25, 0.25]]), np.array([[0.1, 0.8, 0.1]])  # indices 0.25 and 0.7
    logits = [np.log(first).astype(np.float32) + 3, np.log(second).astype(np.float32)]
    wanted = np.array([[0.125 + 0.07, 0.0625 + 0.56, 0.0625 + 0.07]]) / 0.95
    np.testing.assert_allclose(output(SparsityFusion(), logits), np.log(wanted), atol=1e-5)
    np.testing.assert_allclose(
        output(SparsityFusion(), logits, training=True), np.log([[0.3, 0.525, 0.175]]), atol=1e-5
    )


def test_an_undecided_branch_does_not_count():
    logits = [np.zeros((1, 3), np.float32), np.log(np.array([[0.1, 0.8, 0.1]], np.float32))]
    np.testing.assert_allclose(np.exp(output(SparsityFusion(), logits)), [[0.1, 0.8, 0.1]], atol=1e-5)
    undecided = [np.zeros((2, 4), np.float32)] * 2
    np.testing.assert_allclose(np.exp(output(SparsityFusion(), undecided)), np.full((2, 4), 0.25), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_certain_branches_keep_finite_logarithms_and_gradients(training):
    import tensorflow as tf

    logits = [tf.constant([[1e4, 0, -1e4]]), tf.constant([[-1e4, 0, 1e4]])]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        fused = SparsityFusion()(logits, training=training)
        loss = -tf.reduce_sum(fused)
    np.testing.assert_allclose(fused, [[np.log(0.5), -1e4, np.log(0.5)]], atol=1e-2)
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, logits))


def test_training_is_on_the_plain_mean(network, clips):
    parts = [network.get_layer(name).output for name in ("logits_clip", "logits_difference", "logits")]
    *logits, fused = output(keras.Model(network.input, parts), clips, training=True)
    p = [np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in logits]
    np.testing.assert_allclose(np.exp(fused), sum(p) / 2, atol=1e-5)


def test_one_class_is_certain(clips):
    assert np.abs(output(build(1), clips)).max() < 1e-6


@pytest.mark.parametrize("scale", [1, 1e3])
def test_gradients_reach_every_variable(clips, scale):
    import tensorflow as tf

    network = build(dropout=0)
    with tf.GradientTape() as tape:
        loss = -keras.ops.mean(network(clips * scale, training=True)[:, 0])
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path


def test_eager_equals_a_graph_with_open_shapes(network, clips):
    import tensorflow as tf

    graph = tf.function(lambda x: network(x, training=False), [tf.TensorSpec((None, None, *SIZE, 3), tf.float32)])
    for few in (clips, clips[:1], clips[:, :2]):
        np.testing.assert_allclose(graph(few).numpy(), output(network, few), atol=1e-5)


def test_saved_and_loaded_agree(clips, tmp_path):
    network = build(frame_step=2, features=20)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(output(network, clips), output(loaded, clips))
    assert loaded.get_layer("difference").frame_step == 2 and loaded.get_layer("clip_transform").features == 20


def test_the_heads_stay_float32_in_bfloat16(clips):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build()
    finally:
        keras.config.set_dtype_policy("float32")
    logits = output(network, clips)
    float32 = {layer.name for layer in network.layers if layer.compute_dtype == "float32"}
    assert {"difference", "logits_clip", "logits_difference", "logits"} <= float32 and "space1" not in float32
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (64,)}, r"size is a height and a width, got \(64,\)"),
        ({"size": (64, 0)}, "size is a height and a width"),
        ({"frame_step": 0}, "are at least 1, got 0"),
        ({"features": 0}, "are at least 1"),
        ({"hidden": (64,)}, "two hidden sizes"),
        ({"dropout": 1.5}, "dropout is in 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message) as caught:
        build(**options)
    assert "\n" not in str(caught.value)
