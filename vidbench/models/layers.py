"""Layers that several architectures share, and that Keras lacks.

`conv` and `max_pool` pad as PyTorch does, alike on both sides: Keras's "same" pads a strided layer unevenly.
"""

import keras
from keras import layers, ops


def conv(x, filters: int, size, name: str, strides=1, use_bias: bool = False, dtype=None):
    """A 3D convolution whose odd kernel of `size` (frames, height, width) is padded by half of it on either side.

    It starts as Keras does (Glorot, uniform); batch normalisation follows, so that the scale does not matter.
    """
    size, strides = _triple(size), _triple(strides)
    if strides == (1, 1, 1):
        return layers.Conv3D(filters, size, padding="same", use_bias=use_bias, dtype=dtype, name=f"{name}_conv")(x)
    x = pad(x, size, f"{name}_pad")
    return layers.Conv3D(filters, size, strides, use_bias=use_bias, dtype=dtype, name=f"{name}_conv")(x)


def unit(x, filters: int, size, name: str, strides=1, activation: str | None = "relu", **norm_options):
    """Convolution without bias → batch normalisation → activation, None for none."""
    x = norm(conv(x, filters, size, name, strides), name, **norm_options)
    return x if activation is None else layers.Activation(activation, name=f"{name}_{activation}")(x)


def norm(x, name: str, epsilon: float = 1e-5, momentum: float = 0.9):
    """Batch normalisation, by default with PyTorch's numbers (its momentum 0.1 is Keras's 0.9)."""
    return layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=f"{name}_bn")(x)


def max_pool(x, size, strides, name: str):
    """Max pooling of values that are not negative (after a ReLU), padded with zeros by half of `size`."""
    return layers.MaxPooling3D(_triple(size), _triple(strides), name=name)(pad(x, size, f"{name}_pad"))


def pad(x, size, name: str):
    """Zeros on either side of frames, height and width, half of the odd `size` each."""
    return layers.ZeroPadding3D([(edge // 2, edge // 2) for edge in _triple(size)], name=name)(x)


def _triple(size) -> tuple[int, int, int]:
    return (size,) * 3 if isinstance(size, int) else tuple(size)


def fold_frames(x):
    """(B, T, …) → (B * T, …): every frame by itself, for 2D layers."""
    return ops.reshape(x, (-1, *ops.shape(x)[2:]))


def unfold_frames(x, num_frames):
    """(B * T, …) → (B, T, …), the inverse of `fold_frames`."""
    return ops.reshape(x, (-1, num_frames, *ops.shape(x)[1:]))


@keras.saving.register_keras_serializable("vidbench")
class FoldFrames(layers.Layer):
    """(B, T, H, W, C) → (B * T, H, W, C). Unlike `TimeDistributed`, right in a graph with an open T."""

    def __init__(self, **options):
        super().__init__(**{"autocast": False, **options})

    def call(self, x):
        return fold_frames(x)

    def compute_output_shape(self, shape):
        return (None, *shape[2:])


@keras.saving.register_keras_serializable("vidbench")
class UnfoldFrames(layers.Layer):
    """[(B * T, F), the (B, T, …) that was folded] → (B, T, F)."""

    def call(self, inputs):
        features, clips = inputs
        return unfold_frames(features, ops.shape(clips)[1])

    def compute_output_shape(self, shapes):
        features, clips = shapes
        return (*clips[:2], *features[1:])


@keras.saving.register_keras_serializable("vidbench")
class DepthwiseConv3D(layers.Layer):
    """A 3D convolution of each channel by itself: (B, T, H, W, C) → (B, T, H / stride, W / stride, C), no bias.

    The kernel, (frames, height, width, 1, C), is that of `Conv3D(C, groups=C)`, and so is the result, padded by half
    of the odd kernel on either side. A grouped Conv3D has no fast path on CPUs; here each slice of the kernel in time
    is one depthwise 2D convolution over all frames, and the slices' results, shifted in time, are added.
    """

    def __init__(self, size: tuple[int, int, int], stride: int = 1, **options):
        super().__init__(**options)
        self.size, self.stride = tuple(size), stride

    def build(self, shape):
        self.kernel = self.add_weight(shape=(*self.size, 1, shape[-1]), initializer="he_normal", name="kernel")

    def call(self, x):
        frames = ops.shape(x)[1]
        flat = fold_frames(x)
        edge_y, edge_x = (edge // 2 for edge in self.size[1:])
        if edge_y or edge_x:
            flat = ops.pad(flat, ((0, 0), (edge_y, edge_y), (edge_x, edge_x), (0, 0)))
        total = 0
        for number in range(self.size[0]):
            kernel = ops.transpose(self.kernel[number], (0, 1, 3, 2))
            part = unfold_frames(ops.depthwise_conv(flat, kernel, self.stride), frames)
            total += _shifted(part, number - self.size[0] // 2)
        return total

    def compute_output_shape(self, shape):
        height, width = (None if edge is None else -(-edge // self.stride) for edge in shape[2:4])
        return (*shape[:2], height, width, shape[4])

    def get_config(self):
        return {**super().get_config(), "size": self.size, "stride": self.stride}


def _shifted(x, frames: int):
    """The clip (B, T, …) so many frames later, in place of every frame; black beyond its ends."""
    if frames == 0:
        return x
    edge = ops.zeros_like(x[:, : abs(frames)])
    return ops.concatenate([x[:, frames:], edge] if frames > 0 else [edge, x[:, :frames]], axis=1)


@keras.saving.register_keras_serializable("vidbench")
class WindowPooling(layers.Layer):
    """(B, T, H, W, C) → (B, 1, H', W', C): means over all frames and over every `size` × `size` window, step 1.

    A frame smaller than the window is one window. The sums are differences of running sums, because a pooling layer
    cannot have a window that depends on an open size.
    """

    def __init__(self, size: int, **options):
        super().__init__(**options)
        self.size = size

    def call(self, x):
        sums = ops.cumsum(ops.cumsum(ops.mean(ops.cast(x, "float32"), axis=1), axis=1), axis=2)
        sums = ops.pad(sums, ((0, 0), (1, 0), (1, 0), (0, 0)))  # of all that lies above and to the left
        least = min if None not in x.shape[2:4] else ops.minimum  # JAX's sizes are all known, and must stay numbers
        height, width = (least(self.size, edge) for edge in ops.shape(x)[2:4])
        below, above = sums[:, height:], sums[:, :-height]
        windows = below[:, :, width:] - below[:, :, :-width] - above[:, :, width:] + above[:, :, :-width]
        return ops.cast(ops.expand_dims(windows, 1) / ops.cast(height * width, "float32"), x.dtype)

    def compute_output_shape(self, shape):
        edges = (None if edge is None else max(edge - self.size, 0) + 1 for edge in shape[2:4])
        return (shape[0], 1, *edges, shape[4])

    def get_config(self):
        return {**super().get_config(), "size": self.size}
