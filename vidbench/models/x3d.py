"""X3D: one small network, expanded a step at a time; the choice for a laptop's CPU.

Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020,
https://arxiv.org/abs/2004.04730. Equal to pytorchvideo's `x3d_xs`, `x3d_s` and `x3d_m`, which differ in the frames that
they see, not in their parameters.
"""

import math

import keras
from keras import layers

from vidbench.data.protocol import Protocol
from vidbench.models.layers import DepthwiseConv3D, WindowPooling, conv, norm, unit
from vidbench.models.registry import architecture
from vidbench.models.slowfast import PYTORCHVIDEO, pytorchvideo_weights

STAGES = ((24, 3), (48, 5), (96, 11), (192, 7))  # channels, blocks; each stage halves height and width
EXPANSION = 2.25  # channels inside a block
SQUEEZE = 1 / 16  # channels between the two layers of squeeze and excitation
HEAD_CHANNELS = 2048

RENAMES = (
    (r"^blocks\.5\.proj$", "logits_dense"),
    (r"^blocks\.0\.conv\.conv_t$", "stem_conv"),
    (r"^blocks\.0\.conv\.conv_xy$", "stem_time"),
    (r"^blocks\.0\.norm$", "stem_bn"),
    (r"^blocks\.5\.pool\.pre_conv$", "head_conv"),
    (r"^blocks\.5\.pool\.pre_norm$", "head_bn"),
    (r"^blocks\.5\.pool\.post_conv$", "features_conv"),
    (r"^blocks\.(\d)\.res_blocks\.(\d+)\.", r"block\1_\2_"),
    (r"_branch1_conv$", "_shortcut_conv"),
    (r"_branch1_norm$", "_shortcut_bn"),
    (r"_branch2\.conv_b$", "_b"),
    (r"_branch2\.conv_([ac])$", r"_\1_conv"),
    (r"_branch2\.norm_([ac])$", r"_\1_bn"),
    (r"_branch2\.norm_b(\.0)?$", "_b_bn"),
    (r"_branch2\.norm_b\.1\.block\.0$", "_squeeze_conv"),
    (r"_branch2\.norm_b\.1\.block\.2$", "_excite_conv"),
)


def protocol(num_frames: int, stride: int, size: int) -> Protocol:
    """Ten clips of three crops, the short side scaled to the crop's."""
    return Protocol(
        sampling="strided",
        num_frames=num_frames,
        stride=stride,
        clips=10,
        crops=3,
        resize_to=(size, size),
        crop=(size, size),
    )


@architecture(protocol(4, 12, 182), pytorchvideo_weights("X3D_XS", 69.12, 88.63), RENAMES, gmac=0.91, **PYTORCHVIDEO)
def x3d_xs(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """4 frames, 160² in training, 182² in tests: (B, T, H, W, 3) normalised float32 → (B, num_classes) logits."""
    return x3d(num_classes, dropout, trained_size=160, name="x3d_xs")


@architecture(protocol(13, 6, 182), pytorchvideo_weights("X3D_S", 73.33, 91.27), RENAMES, gmac=2.96, **PYTORCHVIDEO)
def x3d_s(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """13 frames, 160² in training, 182² in tests: (B, T, H, W, 3) normalised float32 → (B, num_classes) logits."""
    return x3d(num_classes, dropout, trained_size=160, name="x3d_s")


@architecture(protocol(16, 5, 256), pytorchvideo_weights("X3D_M", 75.94, 92.72), RENAMES, gmac=6.72, **PYTORCHVIDEO)
def x3d_m(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """16 frames, 224² in training, 256² in tests: (B, T, H, W, 3) normalised float32 → (B, num_classes) logits."""
    return x3d(num_classes, dropout, trained_size=224, name="x3d_m")


def x3d(num_classes: int, dropout: float, trained_size: int, name: str) -> keras.Model:
    """The network of all three: any T, H and W go.

    trained_size: height and width in training. What the last stage leaves of it, a 32nd, is the window of the last
        pool; larger frames have several windows, whose logits are averaged. (The published code ends in a softmax
        for each window and averages those: the same for one window, nearly so for several.)
    """
    frames = keras.Input((None, None, None, 3), name="frames")
    x = conv(frames, STAGES[0][0], (1, 3, 3), "stem", (1, 2, 2))
    x = DepthwiseConv3D((5, 1, 1), name="stem_time")(x)
    x = layers.ReLU(name="stem_relu")(norm(x, "stem"))
    for stage, (channels, blocks) in enumerate(STAGES, start=1):
        for number in range(blocks):
            stride = 2 if number == 0 else 1
            x = block(x, channels, stride, number % 2 == 0, f"block{stage}_{number}")
    x = unit(x, int(EXPANSION * channels), 1, "head")
    x = WindowPooling(math.ceil(trained_size / 32), name="windows")(x)
    x = layers.ReLU(name="features_relu")(conv(x, HEAD_CHANNELS, 1, "features"))
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(num_classes, dtype="float32", name="logits_dense")(x)
    logits = layers.GlobalAveragePooling3D(dtype="float32", name="logits")(x)
    return keras.Model(frames, logits, name=name)


def block(x, channels: int, stride: int, attend: bool, name: str):
    """1×1×1 to more channels → 3×3×3 in each of them → 1×1×1 back, and the way around them."""
    inside = int(EXPANSION * channels)
    shortcut = x
    if stride != 1:
        shortcut = conv(x, channels, 1, f"{name}_shortcut", (1, stride, stride))
        if x.shape[-1] != channels:
            shortcut = norm(shortcut, f"{name}_shortcut")
    x = unit(x, inside, 1, f"{name}_a")
    x = norm(DepthwiseConv3D((3, 3, 3), stride, name=f"{name}_b")(x), f"{name}_b")
    if attend:
        x = squeeze_and_excite(x, name)
    x = layers.Activation("swish", name=f"{name}_b_swish")(x)
    x = unit(x, channels, 1, f"{name}_c", activation=None)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def squeeze_and_excite(x, name: str):
    """Each channel weighed by what all channels are on average over the clip (Hu et al., CVPR 2018)."""
    wide = x.shape[-1]
    narrow = max(8, int(wide * SQUEEZE + 4) // 8 * 8)  # a multiple of 8, at least nine tenths of what was asked
    narrow += 8 if narrow < 0.9 * wide * SQUEEZE else 0
    mean = layers.GlobalAveragePooling3D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = conv(mean, narrow, 1, f"{name}_squeeze", use_bias=True)
    weights = layers.ReLU(name=f"{name}_squeeze_relu")(weights)
    weights = conv(weights, wide, 1, f"{name}_excite", use_bias=True)
    weights = layers.Activation("sigmoid", name=f"{name}_excite")(weights)
    return layers.Multiply(name=f"{name}_weigh")([x, weights])
