"""What every registered architecture must do, on whichever backend Keras runs (KERAS_BACKEND=tensorflow or jax)."""

import json
import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from vidbench.models import (
    build_model,
    gflop,
    load_model,
    load_reference_weights,
    network_classifier,
    save_model,
    spec_of,
)
from vidbench.models.registry import ARCHITECTURES
from vidbench.probing import feature_network, head_layer
from vidbench.runtimes import on_jax
from vidbench.utils import UserError

NAMES = sorted(ARCHITECTURES)
if on_jax():  # compiling takes its time there: one network a file; the references' logits are compared for all
    referenced = {ARCHITECTURES[name].build.__module__: name for name in NAMES if ARCHITECTURES[name].renames}
    NAMES = sorted([*referenced.values(), *(name for name in NAMES if not ARCHITECTURES[name].renames)])
SMALLEST = {"i3d": (9, 193, 193), "s3d": (13, 209, 209)}  # T, H, W that the pooling leaves something of
SMALL = (48, 48)
OPTIONS = {"fstcn": {"size": (48, 48), "hidden": (24, 16)}, "lrcn": {"hidden": 8}}
FUSED = {"fstcn": "SparsityFusion", "lrcn": "LogMeanSoftmax"}  # logits that are not linear in features
BFLOAT16_ERROR = 0.05  # of the largest logit: bfloat16 keeps 8 bits, and errors of many layers add up
GOLDEN = sorted(
    (Path(os.environ.get("VIDBENCH_TEST_ASSETS", "-")).parent / "parity" / "golden").glob("[!p]*.json"),
    key=lambda path: path.stem,
)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    yield request.param
    keras.utils.clear_session()


@pytest.fixture(scope="module")
def clips(name):
    clips = np.random.default_rng(1).standard_normal((2, *smallest(name), 3))
    clips[1] += 5  # brighter
    return clips.astype(np.float32)


@pytest.fixture(scope="module")
def network(name):
    keras.utils.set_random_seed(0)
    network = build_model(name, 3, **OPTIONS.get(name, {}))
    rng = np.random.default_rng(0)
    for variable in network.variables:  # as if trained: averages and shifts are not 0 and 1
        leaf, shape = variable.path.rpartition("/")[2], variable.shape
        if leaf in ("moving_mean", "beta", "bias"):
            variable.assign(rng.normal(0, 0.1, shape))
        elif leaf in ("moving_variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif (
            leaf == "kernel" and len(shape) == 4 and shape[-1] == 1
        ):  # depthwise: Keras starts so low that nothing is left
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(shape[:2])), shape))
    return network


@pytest.fixture(scope="module")
def logits(network, clips):
    return compiled(network)(clips)


def smallest(name):
    """(T, H, W) of the clips that `name` is tried with."""
    return SMALLEST.get(name, (max(8, ARCHITECTURES[name].spec().min_frames), *SMALL))


def compiled(network):
    """`network` in evaluation as one function of the backend's compiler, with open shapes where it has such."""
    if on_jax():
        import jax

        values = [v.value for v in network.trainable_variables], [v.value for v in network.non_trainable_variables]
        run = jax.jit(lambda clips: network.stateless_call(*values, clips, training=False)[0])
    else:
        import tensorflow as tf

        open_shape = tf.TensorSpec((None, None, *network.input_shape[2:]), tf.float32)
        run = tf.function(lambda clips: network(clips, training=False), [open_shape], autograph=False)
    return lambda clips: np.asarray(run(clips))


def gradients(network, clips):
    """The gradients of the summed cross-entropy with class 0, in training."""
    labels = np.zeros(len(clips), np.int32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if on_jax():
        import jax

        fixed = [v.value for v in network.non_trainable_variables]

        def loss_of(trained):
            return loss(labels, network.stateless_call(trained, fixed, clips, training=True)[0])

        return jax.jit(jax.grad(loss_of))([v.value for v in network.trainable_variables])
    import tensorflow as tf

    with tf.GradientTape() as tape:
        lost = loss(labels, network(clips, training=True))
    return tape.gradient(lost, [v.value for v in network.trainable_variables])


def test_logits_are_float32_one_row_a_clip(network, logits):
    assert logits.shape == (2, 3) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-4 * np.abs(logits).max()  # it looks at the clips
    assert len({layer.name for layer in network.layers}) == len(network.layers)


def test_clips_do_not_see_each_other(network, clips, logits):
    np.testing.assert_allclose(compiled(network)(clips[1:]), logits[1:], atol=1e-4 * logits.std())


def test_eager_equals_compiled(network, clips, logits):
    eager = keras.ops.convert_to_numpy(network(clips, training=False))
    np.testing.assert_allclose(eager, logits, atol=1e-4 * logits.std())


def test_gradients_reach_every_variable(network, clips):
    before = network.get_weights()
    for variable, gradient in zip(network.trainable_variables, gradients(network, clips), strict=True):
        assert gradient is not None, variable.path
        gradient = np.asarray(gradient)
        assert np.isfinite(gradient).all() and gradient.any(), variable.path
    network.set_weights(before)  # training has moved the averages


def test_what_is_saved_gives_the_same_logits(name, network, clips, logits, tmp_path):
    spec = ARCHITECTURES[name].spec(classes=("a", "b", "c"))
    if network.input_shape[2]:
        protocol = replace(spec.protocol, resize="exact", resize_to=network.input_shape[2:4], crop=None)
        spec = spec.with_protocol(protocol)
    save_model(network, tmp_path / "model.keras", spec)
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.spec == spec
    np.testing.assert_array_equal(compiled(loaded.network)(clips), logits)


def test_mixed_bfloat16_gives_nearly_the_same_and_a_float32_head(name, network, clips, logits):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_model(name, 3, **OPTIONS.get(name, {}))
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(network.get_weights())
    head = [layer for layer in mixed.layers if layer.name.startswith("logits")]
    assert head and all(layer.compute_dtype == "float32" for layer in head)
    assert {layer.compute_dtype for layer in mixed._flatten_layers() if hasattr(layer, "kernel")} == {
        "bfloat16",
        "float32",
    }
    got = compiled(mixed)(clips)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, logits, atol=BFLOAT16_ERROR * np.abs(logits).max())


def test_a_classifier_in_bfloat16_gives_nearly_the_same(name, network):
    """The precision that `--precision bfloat16` asks for: a rewritten graph on TensorFlow, a copy on JAX."""
    spec = ARCHITECTURES[name].spec(classes=("a", "b", "c"))
    pixels = np.random.default_rng(2).integers(0, 256, (1, *smallest(name), 3), dtype=np.uint8)
    full, half = (network_classifier(network, spec, precision)(pixels) for precision in ("float32", "bfloat16"))
    assert half.dtype == np.float32 and (full != half).any()
    np.testing.assert_allclose(half, full, atol=BFLOAT16_ERROR * np.abs(full).max())


def test_a_linear_head_on_pooled_features_gives_the_logits(name, network, clips, logits):
    if name in FUSED:
        with pytest.raises(UserError, match=rf"{name} cannot be probed: .* logits \({FUSED[name]}\)"):
            feature_network(network)
        return
    features = compiled(feature_network(network))(clips)
    kernel, bias = map(keras.ops.convert_to_numpy, (head_layer(network).kernel, head_layer(network).bias))
    assert features.dtype == np.float32 and features.shape == (2, kernel.shape[-2])
    np.testing.assert_allclose(features @ kernel.reshape(kernel.shape[-2:]) + bias, logits, atol=1e-4 * logits.std())


def test_the_spec_agrees_with_the_network(name):
    spec, architecture = spec_of(name), ARCHITECTURES[name]
    assert spec.name == architecture.name == name
    network = build_model(name, len(spec.classes) or 400)
    view = (spec.protocol.num_frames, *spec.protocol.frame_size)
    assert tuple(network.compute_output_shape((2, *view, 3))) == (2, len(spec.classes) or 400)
    assert bool(architecture.weights) == bool(spec.classes)
    assert architecture.renames or not architecture.weights
    assert (architecture.gmac is None) == (not spec.published)
    for row in spec.published:
        assert row.level == "clip" or row.views == f"{spec.protocol.clips}x{spec.protocol.crops}"
    counted = gflop(network, architecture.protocol.num_frames, architecture.protocol.frame_size)
    assert counted > 0
    if architecture.gmac is not None:  # what is counted beside convolutions and products differs between papers
        assert counted == pytest.approx(2 * architecture.gmac, rel=0.1)


def test_the_fewest_frames_are_the_spec_s(name, network, clips):
    fewest = spec_of(name).min_frames
    assert np.isfinite(compiled(network)(clips[:1, :fewest])).all()
    if fewest > 1:
        try:
            short = compiled(network)(clips[:1, : fewest - 1])
        except Exception:  # each backend has its own for a pool or a step that leaves nothing
            return
        assert not np.isfinite(short).all()


@pytest.mark.assets
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_logits_equal_the_reference(path, monkeypatch):
    """The reference implementation's logits for weights and a clip that a recipe makes, on both sides, of a seed."""
    monkeypatch.syspath_prepend(path.parents[1])
    import recipe

    golden = json.loads(path.read_text())
    network = build_model(golden["model"], len(golden["logits"]))
    tensors = {name: recipe.tensor(name, shape, golden["seed"]) for name, shape in golden["tensors"].items()}
    load_reference_weights(network, tensors)
    clip = recipe.video(golden["input_shape_bcthw"], golden["seed"]).transpose(0, 2, 3, 4, 1)
    got, wanted = compiled(network)(clip)[0], np.array(golden["logits"])
    assert np.abs(got - wanted).max() / wanted.std() < 1e-4
    scales = {"i3d": 7280}.get(golden["model"], 0)  # of batch norm, which the port of I3D has and DeepMind's has not
    if "parameters" in golden:
        assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == golden["parameters"] - scales
