"""LRCN: a 2D network on every frame, an LSTM across them.

Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description", CVPR 2015,
https://arxiv.org/abs/1411.4389 (activity recognition).
"""

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers, ops

from vidbench.data.protocol import Protocol
from vidbench.models.layers import FoldFrames, UnfoldFrames
from vidbench.models.registry import architecture
from vidbench.utils import UserError, unknown

PROTOCOL = Protocol(sampling="whole", num_frames=16, resize="short_side", resize_to=(256, 256), crop=(224, 224))
FUSIONS = ("mean", "last", "attention")


@architecture(PROTOCOL, value_range=(-1.0, 1.0))
def lrcn(
    num_classes: int,
    backbone: str = "mobilenet_v2",
    backbone_weights: str | Path | None = None,
    hidden: int = 512,
    bidirectional: bool = False,
    recurrent: bool = True,
    fusion: str = "mean",
    dropout: float = 0.5,
) -> keras.Model:
    """(B, T, H, W, 3) float32 RGB in -1…1 → (B, num_classes) float32 logits; any T, H and W as the backbone takes them.

    backbone: a network of `keras.applications` in lower case: "mobilenet_v2", "resnet50", "efficientnet_v2_b0"; what
        it wants of its pixels is worked out inside, -1…1 is right for all of them
    backbone_weights: None (random), "imagenet" (Keras downloads them) or the path of a weights file
    hidden: units of the LSTM, per direction, and of the attention
    bidirectional: a second LSTM reads the clip backwards
    recurrent: False leaves out the LSTM, and the frames are looked at one by one
    fusion: "mean"       the log of the mean over the steps of each step's class probabilities
            "last"       the state after the last frame (of the one that reads backwards: after the first)
            "attention"  the mean of the steps' states, weighted by a learnt score of each
    dropout: the share of each step's features that is dropped in training, 0 … 1

    The paper's backbone was CaffeNet, from ImageNet, its clips had 16 frames, and it averaged the steps' predictions.
    The default backbone is a small modern one that a CPU can train; 512 units, attention and reading backwards are
    ours. The paper trained each step on the label; here the loss is that of the fused prediction.
    """
    _check(hidden, bidirectional, recurrent, fusion, dropout)
    frames = keras.Input((None, None, None, 3), name="frames")
    x = FoldFrames(dtype="float32", name="fold")(frames)
    x = BackboneRange(backbone, dtype="float32", name="backbone_range")(x)
    x = frame_network(backbone, backbone_weights)(x)
    x = UnfoldFrames(name="unfold")([x, frames])
    x = layers.Dropout(dropout, name="dropout")(x)
    if recurrent:
        lstm = layers.LSTM(hidden, return_sequences=fusion != "last", name="lstm")
        x = layers.Bidirectional(lstm, name="lstm_both_ways")(x) if bidirectional else lstm(x)
    elif fusion == "last":
        x = x[:, -1]
    if fusion == "attention":
        x = _attended(x, hidden)
    x = layers.Dense(num_classes, dtype="float32", name="logits_dense")(x)
    if fusion == "mean":
        x = LogMeanSoftmax(dtype="float32", name="logits")(x)
    return keras.Model(frames, x, name="lrcn")


def frame_network(backbone: str, weights: str | Path | None = None) -> keras.Model:
    """A network of `keras.applications` without its head: (N, H, W, 3) → (N, F), the means over all places."""
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise UserError(f"backbone_weights is None, 'imagenet' or a file, got {str(weights)!r}")
    build, weights = _constructor(backbone), weights and str(weights)
    try:
        network = build(include_top=False, pooling="avg", input_shape=(None, None, 3), weights=weights)
    except Exception as error:  # Keras's downloads raise that
        if weights is None:
            raise
        raise UserError(f"cannot load {weights!r} into {backbone}: {str(error).splitlines()[0]}") from error
    if weights is None:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.9  # Keras's 0.99 and 0.999 take thousands of steps to be right in inference
    network.name = "backbone"  # as an argument, EfficientNetV2 would look its weights up under it
    return network


def _attended(x, units: int):
    """(B, T, F) → (B, F): the mean over T, weighted by a softmax over a score of each step (additive attention)."""
    score = layers.Dense(units, activation="tanh", name="attention")(x)
    score = layers.Dense(1, use_bias=False, dtype="float32", name="attention_score")(score)  # a bias would cancel
    weight = layers.Softmax(axis=1, dtype="float32", name="attention_weight")(score)
    return ops.sum(weight * x, axis=1)


def _check(hidden: int, bidirectional: bool, recurrent: bool, fusion: str, dropout: float) -> None:
    if fusion not in FUSIONS:
        raise unknown("fusion", fusion, FUSIONS)
    if hidden < 1 or not 0 <= dropout < 1:
        raise UserError(f"hidden is at least 1 and dropout in 0 … 1, got {hidden} and {dropout}")
    if bidirectional and not recurrent:
        raise UserError("bidirectional=True needs recurrent=True: there is no LSTM to read backwards")


def _constructor(backbone: str) -> Callable:
    """`keras.applications.MobileNetV2` for "mobilenet_v2"; a miss lists the names."""
    functions = {
        _snake_case(name): build for name, build in vars(keras.applications).items() if inspect.isfunction(build)
    }
    choices = [name for name in functions if not name.startswith("nasnet")]  # Keras's NASNet takes no open H and W
    if backbone not in choices:
        raise unknown("backbone", backbone, choices)
    return functions[backbone]


def _snake_case(name: str) -> str:
    """One spelling for all: "efficientnet_v2_b0" for EfficientNetV2B0, "resnet50" for ResNet50."""
    one_word = name.replace("Net", "net").replace("NeXt", "next")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", one_word).lower()


@keras.saving.register_keras_serializable("vidbench")
class BackboneRange(layers.Layer):
    """(N, H, W, 3) RGB in -1…1 → the same, in the range and order that a network of `keras.applications` wants."""

    def __init__(self, backbone: str, **options):
        super().__init__(**options)
        self.backbone = backbone
        self.preprocess = sys.modules[_constructor(backbone).__module__].preprocess_input

    def call(self, x):
        return self.preprocess((x + 1) * 127.5, data_format="channels_last")

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "backbone": self.backbone}


@keras.saving.register_keras_serializable("vidbench")
class LogMeanSoftmax(layers.Layer):
    """(B, T, N) logits of every step → (B, N): the log of the mean over T of their softmax, which softmax undoes."""

    def call(self, x):
        steps = ops.cast(ops.shape(x)[1], x.dtype)
        return ops.logsumexp(ops.log_softmax(x, axis=-1), axis=1) - ops.log(steps)

    def compute_output_shape(self, shape):
        return (shape[0], shape[2])
