"""I3D's shape, and what the published weights promise."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from vidbench.models import build_model, load_reference_weights
from vidbench.models.i3d import MIN_FRAMES, checkpoint_spec, deepmind_spec
from vidbench.utils import UserError


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
    spec = deepmind_spec(400)
    assert (len(spec.classes), spec.classes[0], spec.value_range, spec.min_frames) == (400, "abseiling", (-1, 1), 9)
    assert (spec.protocol.num_frames, spec.protocol.crop) == (250, (224, 224))
    assert [(row.top1, row.split, row.level) for row in spec.published] == [
        (71.1, "test", "video"),
        (65.96, "val", "clip"),
    ]
    assert deepmind_spec(600).published == ()
    with pytest.raises(UserError, match="400 or 600 classes, these have 8"):
        deepmind_spec(8)


def test_weights_that_never_saw_imagenet_are_not_held_to_those_that_did():
    assert checkpoint_spec(400, Path("rgb_imagenet/model.ckpt")).published
    assert not checkpoint_spec(400, Path("rgb_scratch/model.ckpt")).published


@pytest.mark.assets
@pytest.mark.parametrize("golden", ["i3d", "i3d_deepmind"])
def test_logits_equal_the_reference(golden, monkeypatch):
    if "VIDBENCH_TEST_ASSETS" not in os.environ:
        pytest.skip("VIDBENCH_TEST_ASSETS is not set")
    parity = Path(os.environ["VIDBENCH_TEST_ASSETS"]).parent / "parity"
    if not (parity / "recipe.py").is_file():
        pytest.skip("no parity folder beside the assets")
    monkeypatch.syspath_prepend(parity)
    import recipe

    wanted = json.loads((parity / "golden" / f"{golden}.json").read_text())
    network = build_model("i3d", len(wanted["logits"]))
    load_reference_weights(network, {k: recipe.tensor(k, s, wanted["seed"]) for k, s in wanted["tensors"].items()})
    clip = recipe.video(wanted["input_shape_bcthw"], wanted["seed"]).transpose(0, 2, 3, 4, 1)
    logits = np.asarray(network(clip, training=False))[0]
    assert np.abs(logits - wanted["logits"]).max() / np.std(wanted["logits"]) < 1e-4
