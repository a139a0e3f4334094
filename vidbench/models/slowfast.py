"""SlowFast: a slow pathway that sees what, a thin fast one that sees how it moves.

Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, https://arxiv.org/abs/1812.03982.
The ResNet-50 models are equal to pytorchvideo's `slowfast_r50` (8×8) and `slowfast_4x16_r50`.
"""

import keras
from keras import layers, ops

from vidbench.data.protocol import Protocol
from vidbench.models.layers import WindowPooling, max_pool, unit
from vidbench.models.registry import Weights, architecture
from vidbench.models.spec import Published

PROTOCOL = Protocol(
    sampling="strided",
    num_frames=32,
    stride=2,
    clips=10,
    crops=3,
    resize="short_side",
    resize_to=(256, 256),
    crop=(256, 256),
)
PYTORCHVIDEO = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
CHANNELS = (64, 128, 256, 512)  # of the slow pathway's four stages, inside a block
DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # blocks of each stage
SLOW_SPANS = (1, 1, 3, 3)  # frames that the kernels of the slow pathway's stages see; the fast one's see 3
FAST_PART = 8  # the fast pathway has one in so many of the slow one's channels (the paper's beta is 1/8)

RENAMES = (
    (r"^blocks\.6\.proj$", "logits_dense"),
    (r"^blocks\.0\.multipathway_blocks\.0\.", "slow_stem_"),
    (r"^blocks\.0\.multipathway_blocks\.1\.", "fast_stem_"),
    (r"^blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow$", r"lateral\1_conv"),
    (r"^blocks\.(\d)\.multipathway_fusion\.norm$", r"lateral\1_bn"),
    (r"^blocks\.(\d)\.multipathway_blocks\.0\.res_blocks\.(\d+)\.", r"slow\1_\2_"),
    (r"^blocks\.(\d)\.multipathway_blocks\.1\.res_blocks\.(\d+)\.", r"fast\1_\2_"),
    (r"_branch1_conv$", "_shortcut_conv"),
    (r"_branch1_norm$", "_shortcut_bn"),
    (r"_branch2\.conv_([abc])$", r"_\1_conv"),
    (r"_branch2\.norm_([abc])$", r"_\1_bn"),
    (r"_norm$", "_bn"),
)


def pytorchvideo_weights(file: str, top1: float, top5: float) -> dict[str, Weights]:
    """Kinetics-400 weights as pytorchvideo hosts them; nothing says what their SHA-256 should be."""
    row = Published(top1, top5, "kinetics-400", "val", "video", "10x3", "pytorchvideo model zoo")
    return {
        "kinetics400": Weights(f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}.pyth", (row,))
    }


@architecture(
    PROTOCOL,
    pytorchvideo_weights("SLOWFAST_8x8_R50", 76.94, 92.69),
    RENAMES,
    gmac=65.71,
    min_frames=4,
    frames_multiple=4,
    **PYTORCHVIDEO,
)
def slowfast_r50_8x8(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """(B, T, H, W, 3) normalised float32, T a multiple of 4 → (B, num_classes) float32 logits.

    The slow pathway sees every fourth frame. Of frames larger than 224 the mean over overlapping windows of 7 × 7
    positions is taken, as the published weights were scored.
    """
    return slowfast(num_classes, dropout, depth=50, alpha=4, fusion_span=7, name="slowfast_r50_8x8")


@architecture(
    PROTOCOL,
    pytorchvideo_weights("SLOWFAST_4x16_R50", 75.34, 91.89),
    RENAMES,
    gmac=36.69,
    min_frames=8,
    frames_multiple=8,
    **PYTORCHVIDEO,
)
def slowfast_r50_4x16(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """As `slowfast_r50_8x8`, but T is a multiple of 8 and the slow pathway sees every eighth frame."""
    return slowfast(num_classes, dropout, depth=50, alpha=8, fusion_span=5, name="slowfast_r50_4x16")


@architecture(
    Protocol(sampling="strided", num_frames=32, stride=2, resize="short_side", resize_to=(128, 128), crop=(112, 112)),
    min_frames=8,
    frames_multiple=8,
    **PYTORCHVIDEO,
)
def slowfast_r18(num_classes: int, dropout: float = 0.5) -> keras.Model:
    """SlowFast with ResNet-18 pathways, α = 8, β = 1/8: (B, T, H, W, 3), T a multiple of 8 → (B, num_classes) logits.

    Small enough to be trained from scratch. The paper has no such network. Chosen here: blocks of two convolutions, the
    first of which spans 3 frames where the ResNet-50's does (the whole fast pathway, the slow one's last two stages),
    both 3 × 3 in space; frames of 112².
    """
    return slowfast(num_classes, dropout, depth=18, alpha=8, fusion_span=5, name="slowfast_r18")


def slowfast(num_classes: int, dropout: float, depth: int, alpha: int, fusion_span: int, name: str) -> keras.Model:
    """Two pathways over one input; after the stem and each stage but the last the fast one feeds the slow one.

    alpha: the fast pathway sees so many times as many frames as the slow one
    fusion_span: frames that the kernels of these connections see
    """
    frames = keras.Input((None, None, None, 3), name="frames")
    slow = SlowFrames(alpha, name="slow_frames")(frames)
    slow = stem(slow, CHANNELS[0], (1, 7, 7), "slow_stem")
    fast = stem(frames, CHANNELS[0] // FAST_PART, (5, 7, 7), "fast_stem")
    block = bottleneck if depth == 50 else basic
    for stage, (channels, blocks, span) in enumerate(zip(CHANNELS, DEPTHS[depth], SLOW_SPANS, strict=True), start=1):
        slow = lateral(slow, fast, alpha, fusion_span, f"lateral{stage - 1}")
        for number in range(blocks):
            stride = 2 if number == 0 and stage > 1 else 1
            slow = block(slow, channels, span, stride, f"slow{stage}_{number}")
            fast = block(fast, channels // FAST_PART, 3, stride, f"fast{stage}_{number}")
    slow = WindowPooling(7, name="slow_windows")(slow)
    fast = WindowPooling(7, name="fast_windows")(fast)
    x = layers.Concatenate(name="windows")([slow, fast])
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(num_classes, dtype="float32", name="logits_dense")(x)
    logits = layers.GlobalAveragePooling3D(dtype="float32", name="logits")(x)
    return keras.Model(frames, logits, name=name)


def stem(x, filters: int, size, name: str):
    """The first convolution and pool: a quarter of the height and width remains."""
    return max_pool(unit(x, filters, size, name, (1, 2, 2)), (1, 3, 3), (1, 2, 2), f"{name}_pool")


def lateral(slow, fast, alpha: int, span: int, name: str):
    """The fast pathway's features, one in `alpha` frames and twice the channels, joined to the slow one's."""
    fused = unit(fast, 2 * fast.shape[-1], (span, 1, 1), name, (alpha, 1, 1))
    return layers.Concatenate(name=name)([slow, fused])


def bottleneck(x, channels: int, span: int, stride: int, name: str):
    """(span, 1, 1) → (1, 3, 3) → 1 with four times the channels, and the way around them."""
    shortcut = x
    if x.shape[-1] != 4 * channels or stride != 1:
        shortcut = unit(x, 4 * channels, 1, f"{name}_shortcut", (1, stride, stride), activation=None)
    x = unit(x, channels, (span, 1, 1), f"{name}_a")
    x = unit(x, channels, (1, 3, 3), f"{name}_b", (1, stride, stride))
    x = unit(x, 4 * channels, 1, f"{name}_c", activation=None)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def basic(x, channels: int, span: int, stride: int, name: str):
    """(span, 3, 3) → (1, 3, 3), and the way around them."""
    shortcut = x
    if x.shape[-1] != channels or stride != 1:
        shortcut = unit(x, channels, 1, f"{name}_shortcut", (1, stride, stride), activation=None)
    x = unit(x, channels, (span, 3, 3), f"{name}_a", (1, stride, stride))
    x = unit(x, channels, (1, 3, 3), f"{name}_b", activation=None)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


@keras.saving.register_keras_serializable("vidbench")
class SlowFrames(layers.Layer):
    """(B, T, H, W, C) → (B, T // alpha, H, W, C): frames linspace(0, T - 1, T // alpha), fractions cut off.

    The arithmetic is PyTorch's: float32, from both ends towards the middle.
    """

    def __init__(self, alpha: int, **options):
        super().__init__(**options)
        self.alpha = alpha

    def call(self, x):
        last = ops.shape(x)[1] - 1
        count = (last + 1) // self.alpha
        number = ops.arange(count)
        step = ops.cast(last, "float32") / ops.cast(ops.maximum(count - 1, 1), "float32")
        ahead = step * ops.cast(number, "float32")
        behind = ops.cast(last, "float32") - step * ops.cast(count - 1 - number, "float32")
        chosen = ops.where(number < ops.maximum(count // 2, 1), ahead, behind)
        return ops.take(x, ops.cast(chosen, "int32"), axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] and shape[1] // self.alpha, *shape[2:])

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
