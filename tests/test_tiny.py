"""The small (2+1)D network: shape, size, and what the order of the frames means to it."""

import keras
import numpy as np
import pytest

from vidbench.models.registry import ARCHITECTURES
from vidbench.models.tiny import tiny2plus1d, tiny2plus1d_frames


@pytest.fixture(scope="module", params=[True, False], ids=["temporal", "time-blind"])
def temporal(request):
    return request.param


@pytest.fixture(scope="module")
def model(temporal):
    keras.utils.set_random_seed(0)
    return build(temporal)(8)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).normal(size=(2, 16, 48, 64, 3)).astype(np.float32)


def build(temporal):
    return tiny2plus1d if temporal else tiny2plus1d_frames


def logits(model, clips):
    return keras.ops.convert_to_numpy(model(clips, training=False))


def test_is_registered():
    assert ARCHITECTURES["tiny2plus1d"].build is tiny2plus1d
    assert ARCHITECTURES["tiny2plus1d_frames"].build is tiny2plus1d_frames
    assert ARCHITECTURES["tiny2plus1d"].protocol.frame_size == (96, 128)


def test_gives_finite_float32_logits(model, clips):
    scores = logits(model, clips)
    assert scores.shape == (2, 8) and scores.dtype == np.float32 and np.isfinite(scores).all()


def test_size(model, temporal):
    assert model.count_params() < 300_000
    assert temporal == (model.count_params() > 250_000)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names) and not any(name.startswith("conv3d") for name in names)


@pytest.mark.parametrize("order", [np.arange(16)[::-1], np.random.default_rng(1).permutation(16)])
def test_only_the_temporal_network_sees_order(model, temporal, clips, order):
    change = np.abs(logits(model, clips) - logits(model, clips[:, order])).max()
    scale = np.abs(logits(model, clips)).max()
    assert change > 1e-3 * scale if temporal else change < 1e-5 * scale


def test_takes_other_lengths_and_sizes(model):
    assert logits(model, np.zeros((1, 1, 40, 56, 3), np.float32)).shape == (1, 8)
    assert logits(model, np.zeros((1, 9, 96, 128, 3), np.float32)).shape == (1, 8)


def test_saved_and_loaded_agree(model, clips, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(logits(model, clips), logits(loaded, clips))


def test_head_stays_float32_in_bfloat16(clips, temporal):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(temporal)(3)
    finally:
        keras.config.set_dtype_policy("float32")
    scores = logits(model, clips)
    assert scores.dtype == np.float32 and np.isfinite(scores).all()
