"""The layers that Keras lacks, against layers that it has and against numbers worked out by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from vidbench.models.layers import DepthwiseConv3D, WindowPooling, conv, max_pool


def clip(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("size", "stride"), [((3, 3, 3), 1), ((3, 3, 3), 2), ((5, 1, 1), 1), ((1, 3, 3), 2)])
def test_depthwise_is_a_convolution_with_a_group_a_channel(size, stride):
    x = clip(2, 5, 7, 8, 4)
    ours = DepthwiseConv3D(size, stride)
    got = ours(x)
    grouped = layers.Conv3D(4, size, (1, stride, stride), groups=4, use_bias=False)
    padded = np.pad(x, [(0, 0), *((edge // 2, edge // 2) for edge in size), (0, 0)])
    grouped.build(padded.shape)
    grouped.set_weights(ours.get_weights())
    np.testing.assert_allclose(np.asarray(got), np.asarray(grouped(padded)), atol=1e-5)
    assert tuple(got.shape) == ours.compute_output_shape(x.shape)


def test_windows_by_hand():
    """Two frames that differ by 2 have means 1 higher; 2 × 2 windows of 0…5 in two rows: (0+1+3+4)/4, (1+2+4+5)/4."""
    frame = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3, 1)
    x = np.concatenate([frame, frame + 2], axis=1)
    got = np.asarray(WindowPooling(2)(x))
    assert got.shape == (1, 1, 1, 2, 1) and got.ravel().tolist() == [3.0, 4.0]
    assert np.asarray(WindowPooling(7)(x)).ravel().tolist() == [3.5]  # the whole frame is smaller than the window


def test_windows_of_an_open_size_are_those_of_a_fixed_one():
    x = clip(1, 3, 9, 8, 2)
    pooled = np.asarray(WindowPooling(7)(x))
    wanted = np.asarray(keras.ops.average_pool(x.mean(1), 7, 1, "valid"))[:, None]
    np.testing.assert_allclose(pooled, wanted, atol=1e-6)


@pytest.mark.parametrize("edge", [8, 9])
def test_strided_layers_are_padded_alike_on_both_sides(edge):
    """A kernel of ones at stride 2 over ones: only the first place, and for odd sizes the last, meets the padding."""
    frames = keras.Input((None, None, None, 1))
    network = keras.Model(frames, conv(frames, 1, (1, 3, 3), "c", (1, 2, 2)))
    network.set_weights([np.ones((1, 3, 3, 1, 1), np.float32)])
    row = np.asarray(network(np.ones((1, 1, edge, edge, 1), np.float32)))[0, 0, 1, :, 0]
    assert row.tolist() == ([6, 9, 9, 9] if edge == 8 else [6, 9, 9, 9, 6])
    pooled = keras.Model(frames, max_pool(frames, (1, 3, 3), (1, 2, 2), "p"))
    line = np.arange(edge, dtype=np.float32) * np.ones((1, 1, edge, edge, 1), np.float32)[..., 0]
    assert np.asarray(pooled(line[..., None]))[0, 0, 0, :, 0].tolist() == (
        [1, 3, 5, 7] if edge == 8 else [1, 3, 5, 7, 8]
    )
