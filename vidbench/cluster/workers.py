"""What runs on the nodes: a task that decodes a video, an actor that keeps a model warm."""

import contextlib
import functools
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pebble import ProcessPool

from vidbench.arguments import EvaluateSettings
from vidbench.data import cache
from vidbench.data.load import Failure, Sample
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.data.workers import worker_pool
from vidbench.machine import limit_cpus, peak_memory_mb
from vidbench.predict import score
from vidbench.prepare import cache_folder, list_videos, load_classifier, loader_of


@dataclass(frozen=True, eq=False)
class Told:
    """What a decoding task tells the driver. item: the sample without its frames, or why there is none."""

    item: Sample | Failure
    node: str
    peak_memory_mb: int
    cache_problem: str | None
    cache_counts: dict[str, int]


@dataclass(frozen=True)
class Loaded:
    """What a model worker tells of itself; `contract` must be that of the driver's model."""

    node: str
    clips_at_once: int
    contract: dict


@functools.cache
def _pool() -> ProcessPool:
    """The child that decodes for this process of Ray's, kept for its next task; after a crash it is another one."""
    return worker_pool(1)


def decode_video(
    video: Video, protocol: Protocol, settings: EvaluateSettings, folder: str
) -> tuple[Told, np.ndarray | None]:
    """What became of a video, and the frames that its protocol takes, (U, h, w, 3) uint8; None for a failure.

    folder: the driver's, which relative paths start from. A file that crashes the decoder, or takes too long, is a
    failure: see `VideoLoader`.
    """
    with contextlib.suppress(OSError):  # a node without it fails where a relative path is needed
        os.chdir(folder)
    here = video if video.path is None else replace(video, path=Path(folder) / video.path)
    loader = loader_of(replace(settings, workers=1), [], protocol)
    item = loader.load(_pool(), here)
    frames = None
    if isinstance(item, Sample):
        frames = np.asarray(item.decoded.frames)  # of the cache they are a memory map, which other nodes have not
        item = replace(item, decoded=replace(item.decoded, frames=frames[:0]))
    memory, problem, counts = loader.peak_worker_memory_mb, loader.cache_problem, loader.cache_counts
    told = Told(replace(item, video=video), socket.gethostname(), memory, problem, counts)
    return told, frames


class ModelWorker:
    """An actor: a classifier, loaded once, and the views that it is given."""

    def load(self, settings: EvaluateSettings, folder: str, backend: str, processors: int) -> Loaded:
        """Load the settings' model on Keras's `backend`, to run on so many processors of this machine.

        Raises UserError as `load_classifier` does.
        """
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ["KERAS_BACKEND"] = backend  # Keras reads it when it is imported, which is now
        limit_cpus(processors)
        videos = list_videos(settings)[1] if settings.converted_to else ()
        self.settings, self.model = settings, load_classifier(settings, videos)
        if settings.cache:
            cache.open_folder(cache_folder(settings), settings.cache_max_bytes)
        return Loaded(socket.gethostname(), self.model.clips_at_once, contract(self.model))

    def score(self, items: list[Sample], *frames: np.ndarray) -> tuple[list[np.ndarray], int]:
        """The probabilities of the views of each sample, (V, C) float32, and this process's peak memory in MB."""
        samples = [
            replace(item, decoded=replace(item.decoded, frames=part)) for item, part in zip(items, frames, strict=True)
        ]
        looks = {name: getattr(self.settings, name) for name in ("frame_order", "distinct_frames", "seed")}
        return [outcome.views for outcome in score(self.model, samples, **looks)], peak_memory_mb()


def contract(model) -> dict:
    """What must be the same in two classifiers whose scores go into one run."""
    return {
        "spec": model.spec.to_dict(),
        "weights_sha256": model.weights_sha256,
        "runtime": model.runtime,
        "precision": model.precision,
        "calibration": model.conversion.get("calibration_key"),
    }
