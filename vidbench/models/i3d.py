"""I3D: Inception-v1 with its kernels inflated into time.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017,
https://arxiv.org/abs/1705.07750 (figure 3).
"""

from dataclasses import replace

import keras
from keras import layers

from vidbench.data.protocol import Protocol
from vidbench.models.registry import Weights, architecture
from vidbench.models.spec import Published

PROTOCOL = Protocol(
    sampling="whole", num_frames=64, resize="short_side", resize_to=(256, 256), crop=(224, 224), short_videos="repeat"
)
MIN_FRAMES = 9  # 8 frames leave one time step after the strides, and the last pool takes two

PUBLISHED = (  # Kinetics-400, RGB, ImageNet first
    Published(
        71.1, 89.3, "kinetics-400", "test", "video", "1x1", "deepmind/kinetics-i3d README (RGB, ImageNet + Kinetics)"
    ),
    Published(
        65.96, 86.01, "kinetics-400", "val", "clip", "1x1", "the released RGB checkpoint on 79 frames, by others"
    ),
)

# The paper's protocol: the whole clip, 250 frames of 10 s at 25 a second. The accuracies are of the weights that saw
# ImageNet first.
WHOLE_CLIP = replace(PROTOCOL, num_frames=250)
WEIGHTS = {
    "kinetics400": Weights("i3d-kinetics-400", PUBLISHED, protocol=WHOLE_CLIP, known_as=("rgb_imagenet/model.ckpt",)),
    "kinetics600": Weights("i3d-kinetics-600", kinetics="600", protocol=WHOLE_CLIP),
}

# DeepMind's checkpoints; the 600-class file has no prefix, a TF-Hub module may have another. Mixed_5b calls its branch
# 2b "0a" as well. The last three are for the PyTorch port.
RENAMES = (
    (r"^(module/)?(RGB/inception_i3d/)?", ""),
    (r"^Logits/Conv3d_0c_1x1/", "logits/"),
    (r"/Branch_0/Conv3d_0a_1x1/", "_b0/"),
    (r"/Branch_([12])/Conv3d_0a_1x1/", r"_b\1a/"),
    (r"/Branch_([123])/Conv3d_0[ab]_[13]x[13]/", r"_b\1b/"),
    (r"/batch_norm/", "_bn/"),
    (r"/conv_3d/w$", "_conv/kernel"),
    (r"/conv_3d/b$", "_conv/bias"),
    (r"^(Mixed_\w+)\.b", r"\1_b"),
    (r"\.conv3d$", "_conv"),
    (r"\.bn$", "_bn"),
)

# Channels of each module: 1x1 | 1x1 → 3x3 | 1x1 → 3x3 | pool → 1x1
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


@architecture(PROTOCOL, WEIGHTS, RENAMES, gmac=108, value_range=(-1.0, 1.0), min_frames=MIN_FRAMES)
def i3d(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """(B, T, H, W, 3) float32, T at least 9, H and W at least 193 → (B, num_classes) float32 logits.

    The published weights want RGB in -1…1 (DeepMind's checkpoints; what the TF-Hub module wants is disputed).
    ceil(T / 8) - 1 overlapping windows are each classified, and their logits averaged. Padding is TensorFlow's
    "SAME" throughout, batch normalisation has no scale. `dropout` is the share that is dropped before the last
    layer in training; the paper's code keeps it open.
    """
    frames = layers.Input((None, None, None, 3), name="frames")
    x = unit(frames, 64, 7, "Conv3d_1a_7x7", strides=2)
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool3d_2a_3x3")
    x = unit(x, 64, 1, "Conv3d_2b_1x1")
    x = unit(x, 192, 3, "Conv3d_2c_3x3")
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool3d_3a_3x3")
    x = mixed(x, "Mixed_3b")
    x = mixed(x, "Mixed_3c")
    x = max_pool(x, 3, 2, "MaxPool3d_4a_3x3")
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = mixed(x, name)
    x = max_pool(x, 2, 2, "MaxPool3d_5a_2x2")
    x = mixed(x, "Mixed_5b")
    x = mixed(x, "Mixed_5c")
    x = layers.AveragePooling3D((2, 7, 7), strides=1, padding="valid", name="AvgPool3d_6a_7x7")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv3D(num_classes, 1, dtype="float32", name="logits_conv")(x)
    x = layers.GlobalAveragePooling3D(dtype="float32", name="logits")(x)
    return keras.Model(frames, x, name="i3d")


def unit(x, filters: int, size: int, name: str, strides: int = 1):
    """Convolution without bias → batch normalisation without scale → ReLU."""
    x = layers.Conv3D(filters, size, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(scale=False, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def mixed(x, name: str):
    """One Inception module: four branches over the same input, their channels joined."""
    b0, b1a, b1b, b2a, b2b, b3b = MIXED[name]
    branches = [
        unit(x, b0, 1, f"{name}_b0"),
        unit(unit(x, b1a, 1, f"{name}_b1a"), b1b, 3, f"{name}_b1b"),
        unit(unit(x, b2a, 1, f"{name}_b2a"), b2b, 3, f"{name}_b2b"),
        unit(max_pool(x, 3, 1, f"{name}_b3a"), b3b, 1, f"{name}_b3b"),
    ]
    return layers.Concatenate(name=name)(branches)


def max_pool(x, size, strides, name: str):
    """Max pooling with "SAME" padding."""
    return layers.MaxPooling3D(size, strides, padding="same", name=name)(x)
