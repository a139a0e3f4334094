"""S3D: I3D with its convolutions over space and over time apart, without the gates.

Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification",
ECCV 2018, https://arxiv.org/abs/1712.04851. Equal to torchvision's `video.s3d`.
"""

import keras
from keras import layers

from vidbench.data.protocol import Protocol
from vidbench.models.i3d import MIXED
from vidbench.models.layers import max_pool
from vidbench.models.layers import unit as _unit
from vidbench.models.registry import Weights, architecture
from vidbench.models.resnet3d import TORCHVISION
from vidbench.models.spec import Published

PROTOCOL = Protocol(
    sampling="clips",
    num_frames=128,
    frame_rate=15,
    resize="exact",
    resize_to=(256, 256),
    crop=(224, 224),
    short_videos="fail",
)
MIN_FRAMES = 13  # 12 leave one time step after the strides, and the last pool takes two
WEIGHTS = Weights(
    "https://download.pytorch.org/models/s3d-d76dad2f.pth",
    (
        Published(
            68.368, 88.050, "kinetics-400", "val", "clip", "1x1", "torchvision 0.28, video classification references"
        ),
    ),
    sha256="d76dad2f",
)
NORM = {"epsilon": 1e-3, "momentum": 0.999}  # of every batch normalisation; PyTorch calls the latter 0.001

# torchvision numbers its layers; between the numbers lie pools, which have no weights
NUMBERED = {"0": "stem1", "2": "stem2", "3": "stem3"} | dict(
    zip(("5", "6", "8", "9", "10", "11", "12", "14", "15"), (name.lower() for name in MIXED), strict=True)
)
RENAMES = (
    (r"^classifier\.1$", "logits_conv"),
    *((rf"^features\.{number}\.", f"{name}.") for number, name in NUMBERED.items()),
    (r"\.branch0\.(\d)$", r".b0.\1"),
    (r"\.branch([12])\.0\.(\d)$", r".b\1a.\2"),
    (r"\.branch([12])\.1\.(\d)\.(\d)$", r".b\1b.\2.\3"),
    (r"\.branch3\.1\.(\d)$", r".b3b.\1"),
    (r"\.0\.([01])$", r".space.\1"),  # the first of two is over space, the second over time
    (r"\.1\.([01])$", r".time.\1"),
    (r"\.0$", "_conv"),
    (r"\.1$", "_bn"),
    (r"\.", "_"),
)


@architecture(PROTOCOL, {"kinetics400": WEIGHTS}, RENAMES, gmac=143.8, min_frames=MIN_FRAMES, **TORCHVISION)
def s3d(num_classes: int, dropout: float = 0.2) -> keras.Model:
    """(B, T, H, W, 3) float32, T at least 13, H and W at least 209 → (B, num_classes) float32 logits."""
    frames = keras.Input((None, None, None, 3), name="frames")
    x = separable(frames, 64, 7, "stem1", stride=2)
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "pool1")
    x = unit(x, 64, 1, "stem2")
    x = separable(x, 192, 3, "stem3")
    x = max_pool(x, (1, 3, 3), (1, 2, 2), "pool2")
    x = mixed(x, "Mixed_3b")
    x = mixed(x, "Mixed_3c")
    x = max_pool(x, 3, 2, "pool3")
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = mixed(x, name)
    x = layers.MaxPooling3D(2, name="pool4")(x)
    x = mixed(x, "Mixed_5b")
    x = mixed(x, "Mixed_5c")
    x = layers.AveragePooling3D((2, 7, 7), strides=1, name="pool5")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv3D(num_classes, 1, dtype="float32", name="logits_conv")(x)
    x = layers.GlobalAveragePooling3D(dtype="float32", name="logits")(x)
    return keras.Model(frames, x, name="s3d")


def unit(x, filters: int, size, name: str, strides=1):
    """`vidbench.models.layers.unit` with this network's batch normalisation."""
    return _unit(x, filters, size, name, strides, **NORM)


def separable(x, filters: int, size: int, name: str, stride: int = 1):
    """A convolution over space, then one over time."""
    x = unit(x, filters, (1, size, size), f"{name}_space", (1, stride, stride))
    return unit(x, filters, (size, 1, 1), f"{name}_time", (stride, 1, 1))


def mixed(x, name: str):
    """One Inception module, with I3D's channels: four branches over the same input, their channels joined."""
    b0, b1a, b1b, b2a, b2b, b3b = MIXED[name]
    name = name.lower()
    pooled = layers.MaxPooling3D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        unit(x, b0, 1, f"{name}_b0"),
        separable(unit(x, b1a, 1, f"{name}_b1a"), b1b, 3, f"{name}_b1b"),
        separable(unit(x, b2a, 1, f"{name}_b2a"), b2b, 3, f"{name}_b2b"),
        unit(pooled, b3b, 1, f"{name}_b3b"),
    ]
    return layers.Concatenate(name=name)(branches)
