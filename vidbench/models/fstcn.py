"""FstCN: 2D convolutions over space, then convolutions over time and features, on a clip and on its differences.

Sun, Jia, Yeung and Shi, "Human Action Recognition using Factorized Spatio-Temporal Convolutional Networks",
ICCV 2015, https://arxiv.org/abs/1510.00562.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from vidbench.data.protocol import Protocol
from vidbench.models.layers import FoldFrames, UnfoldFrames
from vidbench.models.registry import architecture
from vidbench.utils import UserError

PROTOCOL = Protocol(sampling="whole", num_frames=16, resize="short_side", resize_to=(240, 240), crop=(204, 204))


@architecture(PROTOCOL, value_range=(-1.0, 1.0))
def fstcn(
    num_classes: int,
    size: Sequence[int] = (204, 204),
    frame_step: int = 1,
    features: int = 128,
    hidden: Sequence[int] = (4096, 2048),
    dropout: float = 0.5,
) -> keras.Model:
    """(B, T, height, width, 3) float32 in -1…1 → (B, num_classes) float32 logits, the log of fused probabilities.

    size: height and width, fixed when the network is built: the temporal part has one channel per place; T is open
    frame_step: the difference of frame t is |frame t + frame_step - frame t|. The last `frame_step` frames are compared
        with the last one of all, which itself differs by 0
    features: what the transformation makes of the temporal part's 128 feature maps
    hidden: the two fully connected layers of either part; the second's size is also that of the layer that joins them
    dropout: the share that is dropped in training after the temporal convolutions and the fully connected layers

    The clip and its differences go through the same four spatial layers, as in the paper, and then each through a
    spatial part, a temporal part and a classifier of its own. The two predictions are fused by how concentrated each
    is (`SparsityFusion`); in training their mean is what is trained.

    The paper gives the spatial part one frame of the clip and the temporal part the differences, one classifier for
    both, and fuses crops; as a network of one clip, this one fuses its inputs. Also ours: the middle frame (the paper's
    is random in training); batch normalisation for local response normalisation, which does next to nothing in -1…1;
    the mean over time where the paper flattens, which leaves T open. The longest kernel sees 5 frames, fewer will do.
    """
    _check(size, frame_step, features, hidden, dropout)
    frames = keras.Input((None, *size, 3), name="frames")
    difference = FrameDifference(frame_step, dtype="float32", name="difference")(frames)
    both = ops.concatenate([frames, difference], axis=0)
    x = FoldFrames(name="fold")(both)
    x = _space(x, 96, 7, "space1", strides=2, norm=True)
    x = layers.MaxPooling2D(3, 2, "same", name="space1_pool")(x)
    x = _space(x, 256, 5, "space2", strides=2, norm=True)
    x = layers.MaxPooling2D(3, 2, "same", name="space2_pool")(x)
    x = _space(x, 512, 3, "space3")
    x = _space(x, 512, 3, "space4")
    x = UnfoldFrames(name="unfold")([x, both])
    logits = [
        _classified(part, num_classes, features, hidden, dropout, name)
        for part, name in zip(ops.split(x, 2, axis=0), ("clip", "difference"), strict=True)
    ]
    fused = SparsityFusion(dtype="float32", name="logits")(logits)
    return keras.Model(frames, fused, name="fstcn")


def _classified(x, num_classes: int, features: int, hidden: Sequence[int], dropout: float, name: str):
    """(B, T, H, W, 512) → (B, num_classes): the middle frame's appearance, the clip's motion, joined."""
    space = MiddleFrame(name=f"{name}_middle")(x)
    space = _space(space, 128, 3, f"{name}_space")
    space = layers.MaxPooling2D(3, 3, "same", name=f"{name}_space_pool")(space)
    space = _connected(space, hidden, dropout, f"{name}_space")

    time = FoldFrames(name=f"{name}_fold")(x)
    time = _space(time, 128, 3, f"{name}_time")
    time = layers.MaxPooling2D(3, 3, "same", name=f"{name}_time_pool")(time)
    time = UnfoldFrames(name=f"{name}_unfold")([time, x])
    time = TransformPermute(features, name=f"{name}_transform")(time)
    time = layers.Concatenate(name=f"{name}_kernels")([_space(time, 32, edge, f"{name}_time{edge}") for edge in (3, 5)])
    time = layers.Dropout(dropout, name=f"{name}_kernels_dropout")(time)
    time = _connected(ops.mean(time, axis=2), hidden, dropout, f"{name}_time")

    x = layers.Concatenate(name=f"{name}_join")([space, time])
    x = _dense(x, hidden[-1], dropout, f"{name}_dense")
    return layers.Dense(num_classes, dtype="float32", name=f"logits_{name}")(x)


def _space(x, filters: int, edge: int, name: str, strides: int = 1, norm: bool = False):
    """A 2D convolution → batch normalisation if `norm` → ReLU."""
    x = layers.Conv2D(filters, edge, strides, "same", use_bias=not norm, kernel_initializer="he_normal", name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x) if norm else x
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _connected(x, hidden: Sequence[int], dropout: float, name: str):
    """(B, …) → (B, hidden[-1]): fully connected layers."""
    x = layers.Flatten(name=f"{name}_flat")(x)
    for number, units in enumerate(hidden, 1):
        x = _dense(x, units, dropout, f"{name}_dense{number}")
    return x


def _dense(x, units: int, dropout: float, name: str):
    x = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=name)(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x)


def _check(size, frame_step: int, features: int, hidden, dropout: float) -> None:
    if not isinstance(size, Sequence) or len(size) != 2 or min(size) < 1:
        raise UserError(f"size is a height and a width, got {size}")
    if min(frame_step, features, *hidden) < 1 or len(hidden) != 2:
        raise UserError(
            f"frame_step, features and two hidden sizes are at least 1, got {frame_step}, {features}, {hidden}"
        )
    if not 0 <= dropout < 1:
        raise UserError(f"dropout is in 0 … 1, got {dropout}")


@keras.saving.register_keras_serializable("vidbench")
class FrameDifference(layers.Layer):
    """(B, T, H, W, C) → the same shape: |frame t + `frame_step` - frame t|, the last frame again after the end."""

    def __init__(self, frame_step: int = 1, **options):
        super().__init__(**options)
        self.frame_step = frame_step

    def call(self, x):
        later = ops.concatenate([x, ops.repeat(x[:, -1:], self.frame_step, axis=1)], axis=1)[:, self.frame_step :]
        return ops.abs(later - x)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "frame_step": self.frame_step}


@keras.saving.register_keras_serializable("vidbench")
class MiddleFrame(layers.Layer):
    """(B, T, H, W, C) → (B, H, W, C): frame T // 2."""

    def call(self, x):
        return x[:, ops.shape(x)[1] // 2]

    def compute_output_shape(self, shape):
        return (shape[0], *shape[2:])


@keras.saving.register_keras_serializable("vidbench")
class TransformPermute(layers.Layer):
    """(B, T, H, W, F) → (B, features, T, H * W): the paper's transformation and permutation.

    Every place's F features are mixed by a learnt (F, features) matrix P, which may also bring together those that
    belong together; then features and time become the plane over which a 2D convolution slides, and the places, row
    by row, its channels. P starts as the identity (with fewer features than F the first ones, with more then zeros).
    """

    def __init__(self, features: int, **options):
        super().__init__(**options)
        self.features = features

    def build(self, shape):
        if None in shape[2:]:
            raise ValueError(f"height, width and features must be fixed, got {shape}")
        self.kernel = self.add_weight(shape=(shape[-1], self.features), initializer="identity", name="kernel")

    def call(self, x):
        places, time = x.shape[2] * x.shape[3], ops.shape(x)[1]
        x = ops.reshape(x, (-1, time, places, x.shape[4]))
        return ops.transpose(ops.matmul(x, self.kernel), (0, 3, 1, 2))

    def compute_output_shape(self, shape):
        return (shape[0], self.features, shape[1], shape[2] * shape[3])

    def get_config(self):
        return {**super().get_config(), "features": self.features}


@keras.saving.register_keras_serializable("vidbench")
class SparsityFusion(layers.Layer):
    """Logits of several branches, each (B, N) → (B, N): the log of their probabilities' mean.

    Every branch weighs as much as its `sparsity_concentration_index`; in training, and where all are uniform, all weigh
    alike.
    """

    def call(self, inputs, training=None):
        log_p = ops.log_softmax(ops.stack(inputs), axis=-1)  # (branches, B, N)
        if training:
            return ops.logsumexp(log_p, axis=0) - ops.log(float(len(inputs)))
        sci = sparsity_concentration_index(ops.exp(log_p))[..., None] + keras.config.epsilon()
        log_weight = ops.log(sci) - ops.log(ops.sum(sci, axis=0))
        return ops.logsumexp(log_p + log_weight, axis=0)

    def compute_output_shape(self, shapes):
        return shapes[0]


def sparsity_concentration_index(p):
    """(…, N) that are not negative and not all 0 → (…) in 0…1: 0 where all N are alike, 1 where all but one are 0.

    (N * max(p) / sum(p) - 1) / (N - 1); a single class has no concentration, its index is 0.

    >>> keras.ops.convert_to_numpy(sparsity_concentration_index(keras.ops.array([0.5, 0.25, 0.25]))).tolist()
    0.25
    """
    num_classes = p.shape[-1]
    peak = num_classes * ops.max(p, axis=-1) / ops.sum(p, axis=-1)
    return ops.clip((peak - 1) / max(num_classes - 1, 1), 0, 1)
