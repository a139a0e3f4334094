"""A (2+1)D network small enough to train on a laptop: the demo model and its time-blind twin."""

import keras
from keras import layers

from vidbench.data.protocol import Protocol
from vidbench.models.registry import architecture

PROTOCOL = Protocol(sampling="whole", num_frames=16, resize="exact", resize_to=(96, 128), crop=None)
STEM_CHANNELS = 32
BLOCKS = (  # channels, spatial stride, halve the frames afterwards
    (48, 2, False),
    (72, 2, False),
    (96, 1, True),
    (96, 1, False),
)


NORMALISED = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@architecture(PROTOCOL, **NORMALISED)
def tiny2plus1d(num_classes: int) -> keras.Model:
    """(B, T, H, W, 3) normalised float32 → (B, num_classes) float32 logits; about 0.25 M parameters.

    Convolutions over space (1×3×3) and over time (3×1×1) take turns.
    """
    return _network(num_classes, temporal=True, name="tiny2plus1d")


@architecture(PROTOCOL, **NORMALISED)
def tiny2plus1d_frames(num_classes: int) -> keras.Model:
    """The same with kernels over time of 1×1×1: (B, T, H, W, 3) normalised float32 → (B, num_classes) float32 logits.

    No frames are merged before the mean over all of them: their order cannot matter.
    """
    return _network(num_classes, temporal=False, name="tiny2plus1d_frames")


def _network(num_classes: int, temporal: bool, name: str) -> keras.Model:
    frames = keras.Input((None, None, None, 3), name="frames")
    x = layers.Conv3D(STEM_CHANNELS, (1, 7, 7), (1, 4, 4), "same", use_bias=False, name="stem")(frames)
    x = _norm_relu(x, "stem")
    x = layers.Conv3D(STEM_CHANNELS, (3 if temporal else 1, 1, 1), padding="same", use_bias=False, name="stem_time")(x)
    x = _norm_relu(x, "stem_time")
    for number, (channels, stride, halve) in enumerate(BLOCKS, 1):
        x = _block(x, channels, stride, temporal, f"block{number}")
        if halve and temporal:
            x = layers.AveragePooling3D((2, 1, 1), padding="same", name=f"block{number}_halve")(x)
    x = layers.GlobalAveragePooling3D(name="mean")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(frames, logits, name=name)


def _block(x, channels: int, stride: int, temporal: bool, name: str):
    """(B, T, H, W, C) → (B, T, H / stride, W / stride, channels): a look at each frame, then across frames."""
    x = layers.Conv3D(channels, (1, 3, 3), (1, stride, stride), "same", use_bias=False, name=f"{name}_space")(x)
    x = _norm_relu(x, f"{name}_space")
    x = layers.Conv3D(channels, (3 if temporal else 1, 1, 1), padding="same", use_bias=False, name=f"{name}_time")(x)
    return _norm_relu(x, f"{name}_time")


def _norm_relu(x, name: str):
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
