"""I3D's shape, and what the published weights promise."""

from pathlib import Path

import keras
import numpy as np
import pytest

from vidbench.models import build_model, hub, spec_of
from vidbench.models.i3d import MIN_FRAMES, WEIGHTS


@pytest.fixture(scope="module")
def network():
    return build_model("i3d", 5)


@pytest.mark.parametrize("shape", [(9, 193, 193), (17, 224, 200)])
def test_any_size_that_the_pools_allow_gives_float32_logits(network, shape):
    clips = np.random.default_rng(0).standard_normal((1, *shape, 3)).astype(np.float32)
    logits = network(clips, training=False)
    assert tuple(logits.shape) == (1, 5)
    assert np.asarray(logits).dtype == np.float32
    assert np.isfinite(np.asarray(logits)).all()


def test_fewer_than_nine_frames_leave_no_window(network):
    windows = keras.Model(network.input, network.get_layer("AvgPool3d_6a_7x7").output)
    for num_frames, wanted in ((MIN_FRAMES - 1, 0), (MIN_FRAMES, 1)):
        assert windows(np.zeros((1, num_frames, 193, 193, 3), np.float32)).shape[1] == wanted


def test_it_has_deepminds_size():
    # 12,697,264 in the PyTorch port, less its 7,280 batch-norm scales, less 400 - 5 classes
    trainable = sum(int(np.prod(v.shape)) for v in build_model("i3d", 5).trainable_variables)
    assert trainable == 12_697_264 - 7_280 - 395 * 1025


def test_the_convolutions_are_the_paper_s(network):
    strides = {layer.name: layer.strides for layer in network.layers if hasattr(layer, "strides")}
    assert strides["Conv3d_1a_7x7_conv"] == (2, 2, 2)
    assert sum(name.endswith("_conv") for name in strides) == 58
    norms = [layer for layer in network.layers if layer.name.endswith("_bn")]
    assert len(norms) == 57
    assert {(norm.epsilon, norm.scale, norm.center) for norm in norms} == {(1e-3, False, True)}


def test_all_windows_count_the_same(network):
    """17 frames give ceil(17 / 8) - 1 = 2 overlapping windows, whose logits are averaged."""
    clips = np.random.default_rng(1).standard_normal((1, 17, 193, 193, 3)).astype(np.float32)
    windows = keras.Model(network.input, network.get_layer("logits_conv").output)
    per_step = np.asarray(windows(clips, training=False))
    assert per_step.shape == (1, 2, 1, 1, 5)
    np.testing.assert_allclose(np.asarray(network(clips, training=False)), per_step.mean((1, 2, 3)), atol=1e-5)


def test_the_published_contract():
    spec = spec_of("i3d")
    assert (len(spec.classes), spec.classes[0], spec.value_range, spec.min_frames) == (400, "abseiling", (-1, 1), 9)
    assert (spec.protocol.num_frames, spec.protocol.crop) == (250, (224, 224))
    assert [(row.top1, row.split, row.level) for row in spec.published] == [
        (71.1, "test", "video"),
        (65.96, "val", "clip"),
    ]
    module = hub.module_spec("i3d-kinetics-600")
    assert (module.name, len(module.classes), module.published) == ("i3d-kinetics-600", 600, ())


def test_weights_that_never_saw_imagenet_are_not_held_to_those_that_did():
    assert WEIGHTS["kinetics400"].are(Path("rgb_imagenet/model.ckpt"), "")
    assert not WEIGHTS["kinetics400"].are(Path("rgb_scratch/model.ckpt"), "")
