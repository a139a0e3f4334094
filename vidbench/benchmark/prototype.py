"""The original prototype's way from files to predictions, written anew as the baseline of `pipeline`.

Every frame of a clip is decoded by `cv2.VideoCapture`, cut to a square, resized to 224 × 224 and kept as float32; the
array is pickled, loaded again, resampled to the model's frames; eight clips go through the model as one batch.
"""

import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np

from vidbench.machine import peak_memory_mb

SIDE, BATCH = 224, 8


def prototype_run(clips: list[Path], network, num_frames: int, folder: Path) -> np.ndarray:
    """(N, classes) float32 logits of the clips; the pickled arrays stay in `folder`.

    network: (B, T, 224, 224, 3) float32 in 0…1 → logits, a TensorFlow function
    """
    for number, clip in enumerate(clips):
        with (folder / f"{number}.pkl").open("wb") as file:
            pickle.dump(_every_frame(clip), file)
    logits = []
    for first in range(0, len(clips), BATCH):
        batch = []
        for number in range(first, min(first + BATCH, len(clips))):
            with (folder / f"{number}.pkl").open("rb") as file:
                frames = pickle.load(file)
            batch.append(frames[np.linspace(0, len(frames) - 1, num_frames).astype(int)])
        logits.append(np.asarray(network(np.stack(batch))))
    return np.concatenate(logits)


def _every_frame(clip: Path) -> np.ndarray:
    """(T, 224, 224, 3) float32 RGB in 0…1."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    while True:
        there, frame = capture.read()
        if not there:
            break
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        square = cv2.resize(frame[top : top + side, left : left + side], (SIDE, SIDE))
        frames.append(square[:, :, ::-1])
    capture.release()
    return np.array(frames, np.float32) / 255


def network_function(path: Path):
    """A `.keras` file as the function of `prototype_run`, traced for each shape that it meets."""
    import keras
    import tensorflow as tf

    from vidbench.runtimes import use_all_cpus

    use_all_cpus()
    network = keras.models.load_model(path, compile=False)
    return tf.function(lambda frames: network(frames, training=False), autograph=False, reduce_retracing=False)


if __name__ == "__main__":  # in a process of its own, for its memory: MODEL FRAMES FOLDER CLIP…
    model, frames_wanted, place, *files = sys.argv[1:]
    prototype_run([Path(file) for file in files], network_function(Path(model)), int(frames_wanted), Path(place))
    kept = max(file.stat().st_size for file in Path(place).glob("*.pkl"))
    print(json.dumps({"peak_memory_mb": peak_memory_mb(), "cache_bytes_a_clip": kept}))
