"""R3D-18, MC3-18 and R(2+1)D-18: ResNet-18 with three ways to see time.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018,
https://arxiv.org/abs/1711.11248. Equal to torchvision's `video.r3d_18`, `mc3_18` and `r2plus1d_18`.
"""

import keras
from keras import layers

from vidbench.data.protocol import Protocol
from vidbench.models.layers import conv, norm, unit
from vidbench.models.registry import Weights, architecture
from vidbench.models.spec import Published

PROTOCOL = Protocol(
    sampling="clips",
    num_frames=16,
    frame_rate=15,
    clips=5,
    resize="exact",
    resize_to=(128, 171),
    crop=(112, 112),
    short_videos="fail",
)
TORCHVISION = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
STAGES = (64, 128, 256, 512)  # channels of the four stages, two blocks each; all but the first halve the size

RENAMES = (
    (r"^fc$", "logits"),
    (r"^stem\.0$", "stem_conv"),
    (r"^stem\.1$", "stem_bn"),
    (r"^(layer\d)\.(\d)\.", r"\1_\2_"),
    (r"_downsample\.0$", "_shortcut_conv"),
    (r"_downsample\.1$", "_shortcut_bn"),
    (r"_(conv\d)\.0$", r"_\1_conv"),
    (r"_(conv\d)\.1$", r"_\1_bn"),
)
FACTORISED_RENAMES = (
    (r"^stem\.0$", "stem_space_conv"),
    (r"^stem\.1$", "stem_space_bn"),
    (r"^stem\.3$", "stem_conv"),
    (r"^stem\.4$", "stem_bn"),
    (r"\.(conv\d)\.0\.0$", r".\1_space_conv"),
    (r"\.(conv\d)\.0\.1$", r".\1_space_bn"),
    (r"\.(conv\d)\.0\.3$", r".\1_conv"),
    *RENAMES,
)


def torchvision_weights(file: str, video: tuple[float, float], clip: tuple[float, float]) -> dict[str, Weights]:
    """Kinetics-400 weights as torchvision hosts them; the file's name carries the start of its SHA-256."""
    source = "torchvision 0.28, video classification references"
    return {
        "kinetics400": Weights(
            f"https://download.pytorch.org/models/{file}.pth",
            (
                Published(*video, "kinetics-400", "val", "video", "5x1", source),
                Published(*clip, "kinetics-400", "val", "clip", "1x1", source),
            ),
            sha256=file.rpartition("-")[2],
        )
    }


@architecture(
    PROTOCOL,
    torchvision_weights("r3d_18-b3b3357e", video=(63.200, 83.479), clip=(52.75, 75.45)),
    RENAMES,
    gmac=40.7,
    **TORCHVISION,
)
def r3d_18(num_classes: int, dropout: float = 0.0) -> keras.Model:
    """3×3×3 convolutions throughout: (B, T, H, W, 3) normalised float32 → (B, num_classes) float32 logits."""
    return resnet18(num_classes, dropout, (3, 3, 3, 3), name="r3d_18")


@architecture(
    PROTOCOL,
    torchvision_weights("mc3_18-a90a0ba3", video=(63.960, 84.130), clip=(53.90, 76.29)),
    RENAMES,
    gmac=43.3,
    **TORCHVISION,
)
def mc3_18(num_classes: int, dropout: float = 0.0) -> keras.Model:
    """3×3×3 convolutions in the first stage, frame by frame after it: (B, T, H, W, 3) → (B, num_classes) logits."""
    return resnet18(num_classes, dropout, (3, 1, 1, 1), name="mc3_18")


@architecture(
    PROTOCOL,
    torchvision_weights("r2plus1d_18-91a641e6", video=(67.463, 86.175), clip=(57.50, 78.81)),
    FACTORISED_RENAMES,
    gmac=40.5,
    **TORCHVISION,
)
def r2plus1d_18(num_classes: int, dropout: float = 0.0) -> keras.Model:
    """Each 3×3×3 convolution as one over space and one over time: (B, T, H, W, 3) → (B, num_classes) logits."""
    return resnet18(num_classes, dropout, (3, 3, 3, 3), factorised=True, name="r2plus1d_18")


def resnet18(num_classes: int, dropout: float, frames_seen: tuple, name: str, factorised: bool = False) -> keras.Model:
    """The network of all three: any T, H and W go.

    frames_seen: how many frames the kernels of each stage span; where it is 1, frames are never merged either
    factorised: each convolution over space first (1×3×3), then over time (3×1×1)
    """
    frames = keras.Input((None, None, None, 3), name="frames")
    if factorised:
        x = unit(frames, 45, (1, 7, 7), "stem_space", strides=(1, 2, 2))
        x = unit(x, 64, (3, 1, 1), "stem")
    else:
        x = unit(frames, 64, (3, 7, 7), "stem", strides=(1, 2, 2))
    for stage, (channels, span) in enumerate(zip(STAGES, frames_seen, strict=True), start=1):
        x = block(x, channels, span, 1 if stage == 1 else 2, factorised, f"layer{stage}_0")
        x = block(x, channels, span, 1, factorised, f"layer{stage}_1")
    x = layers.GlobalAveragePooling3D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(frames, logits, name=name)


def block(x, channels: int, span: int, stride: int, factorised: bool, name: str):
    """Two convolutions and the way around them; where the size changes, that way is a convolution too."""
    strides = (stride if span > 1 else 1, stride, stride)
    # as many channels between space and time as leave the parameters of 3×3×3; the second convolution has the same
    between = 27 * x.shape[-1] * channels // (9 * x.shape[-1] + 3 * channels) if factorised else None
    shortcut = x if stride == 1 else unit(x, channels, 1, f"{name}_shortcut", strides, activation=None)
    x = convolution(x, channels, span, strides, between, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_conv1_relu")(norm(x, f"{name}_conv1"))
    x = norm(convolution(x, channels, span, (1, 1, 1), between, f"{name}_conv2"), f"{name}_conv2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def convolution(x, channels: int, span: int, strides: tuple[int, int, int], between: int | None, name: str):
    """One convolution (span, 3, 3), or with channels `between` one (1, 3, 3) and then one (3, 1, 1)."""
    if between is None:
        return conv(x, channels, (span, 3, 3), name, strides)
    x = unit(x, between, (1, 3, 3), f"{name}_space", (1, *strides[1:]))
    return conv(x, channels, (3, 1, 1), name, (strides[0], 1, 1))
