"""Long tiny videos in which a colour is an action, and an image classifier that knows colours exactly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import write_video

GREY = (60, 60, 60)
COLORS = {"blue": (20, 20, 250), "green": (20, 250, 20), "red": (250, 20, 20)}
CLASSES = (*COLORS, "none of these")


def colored(seconds: int, actions: Sequence[tuple[str, int, int]], fps: int = 5, side: int = 32) -> np.ndarray:
    """(T, side, side, 3) uint8: grey, and in the seconds (name, from, to) of `actions` another colour."""
    frames = np.empty((seconds * fps, side, side, 3), np.uint8)
    frames[:] = GREY
    for name, start, end in actions:
        frames[start * fps : end * fps] = COLORS[name]
    return frames


def colored_video(path: Path, seconds: int, actions: Sequence[tuple[str, int, int]], fps: int = 5) -> Path:
    """An H.264 file of `colored` frames with a key frame every second."""
    options = {"g": str(fps), "sc_threshold": "0", "bf": "0"}
    return write_video(path, colored(seconds, actions, fps), fps, codec="libx264", **options)


def color_classifier(path: Path) -> Path:
    """An image classifier of 16 × 16 pixels: a channel's mean counts a tenth, "none of these" always 15."""
    import keras

    from vidbench.candidates.classifier import ImageClassifier, save_classifier

    images = keras.Input((16, 16, 3), name="images")
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(images)
    logits = keras.layers.Dense(4, name="logits")(mean)
    network = keras.Model(images, logits, name="colours")
    kernel = np.zeros((3, 4), np.float32)
    kernel[[2, 1, 0], [0, 1, 2]] = 0.1
    network.get_layer("logits").set_weights([kernel, np.array([0, 0, 0, 15], np.float32)])
    save_classifier(ImageClassifier(network, CLASSES, 16, 2.0), path)
    return path
