"""Pooled features: what a network's last, linear layer is given, one vector a clip and view, computed once and kept."""

import copy
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from tqdm.auto import tqdm

from vidbench.data.cache import cache_key, cache_path, read_array, write_array
from vidbench.data.load import Failure, VideoLoader
from vidbench.data.records import Video
from vidbench.data.splitting import group_name
from vidbench.models import Classifier, Spec, network_classifier
from vidbench.models.weights import HEAD
from vidbench.predict import run_views
from vidbench.runtimes import device_name
from vidbench.utils import UserError, canonical_label

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Features:
    """The feature vectors of N videos, in the order of their listing, without those that failed.

    vectors: (N, V, D) float32, one a view, in the network's own scale
    video_ids: the videos
    labels: (N,) int64, the index of each video's class, -1 for none that is known
    groups: the recording that each video comes from; its id where it is a recording of its own
    failures: the videos without vectors
    """

    vectors: np.ndarray
    video_ids: tuple[str, ...]
    labels: np.ndarray
    groups: tuple[str, ...]
    failures: tuple[Failure, ...] = ()

    def __post_init__(self):
        if self.vectors.ndim != 3 or self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be (N, V, D) float32, got {self.vectors.shape} {self.vectors.dtype}")
        if not len(self.vectors) == len(self.video_ids) == len(self.labels) == len(self.groups):
            raise ValueError(
                f"one id, label and group a video, got {len(self.video_ids)}, {len(self.labels)} and "
                f"{len(self.groups)} for {len(self.vectors)} videos"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: np.ndarray) -> "Features":
        """Some of the videos: whole numbers, or one bool a video; the failures stay behind."""
        rows = np.arange(len(self))[rows]
        ids, groups = (tuple(names[row] for row in rows) for names in (self.video_ids, self.groups))
        return Features(self.vectors[rows], ids, self.labels[rows], groups)

    @property
    def labelled(self) -> "Features":
        """The videos whose class is known."""
        return self[self.labels >= 0]


# ------------------------------------------------------------------ the network without its head


def head_layer(network: keras.Model) -> keras.Layer:
    """The one layer, Dense or a convolution of single positions, that makes logits of features.

    The layers of the head have names that begin with `logits`: this one, and at most a mean over its positions.
    Raises UserError for a network whose logits are not linear in features: fstcn fuses probabilities, lrcn's
    fusion "mean" takes the logarithm of their mean.
    """
    head = [layer for layer in network.layers if layer.name.startswith(HEAD)]
    if not head:
        raise UserError(f"{network.name} cannot be probed: it has no layer whose name begins with {HEAD!r}")
    linear, *rest = head
    odd = [layer for layer in rest if not isinstance(layer, layers.GlobalAveragePooling3D)]
    if not _is_linear(linear):
        odd.insert(0, linear)
    elif not odd and head[-1].output is not network.outputs[0]:
        odd.append(head[-1])
    if odd:
        raise UserError(
            f"{network.name} cannot be probed: its logits are not a linear function of pooled features, see its layer "
            f"{odd[-1].name} ({type(odd[-1]).__name__}); train it without a probe"
        )
    return linear


def _is_linear(layer: keras.Layer) -> bool:
    """Whether a layer is kernelᵀ · x + bias at every position of x by itself."""
    if not isinstance(layer, layers.Dense | layers.Conv3D) or layer.activation is not keras.activations.linear:
        return False
    shape, steps = layer.kernel.shape, getattr(layer, "strides", ())
    return layer.use_bias and {*shape[:-2], *steps} <= {1} and shape[-2] == layer.input.shape[-1]


def feature_network(network: keras.Model) -> keras.Model:
    """(B, T, H, W, 3) normalised float32 → (B, D) float32: the mean of what `head_layer` is given, over its positions.

    logits = features @ kernel + bias, because a mean of linear functions is the function of the mean. The layers and
    variables are the network's own. Raises UserError as `head_layer` does.
    """
    x = ops.cast(head_layer(network).input, "float32")
    if len(x.shape) > 2:
        x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    return keras.Model(network.inputs, x, name=f"{network.name}_features")


def network_digest(network: keras.Model) -> str:
    """64 hex digits that change with every layer, connection and variable of a network that changes its outputs.

    Names do not count (Keras numbers some of them anew each time), nor does what is frozen, nor dropout's seeds.
    """
    names = {name: number for number, name in enumerate(_names(network))}
    digest = hashlib.sha256(json.dumps(_nameless(network.get_config(), names), sort_keys=True).encode())
    for variable in network.variables:
        if "seed_generator" not in variable.path:
            value = ops.convert_to_numpy(variable)
            digest.update(f"{value.shape} {value.dtype}".encode())
            digest.update(np.ascontiguousarray(value))
    return digest.hexdigest()


def _names(network: keras.Model) -> Iterator[str]:
    yield network.name
    for operation in network.operations:
        yield from _names(operation) if hasattr(operation, "operations") else [operation.name]


def _nameless(config, names: dict[str, int]):
    if isinstance(config, dict):
        return {key: _nameless(value, names) for key, value in config.items() if key != "trainable"}
    if isinstance(config, list | tuple):
        return [_nameless(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


# ------------------------------------------------------------------ videos → vectors


def extract_features(network: keras.Model, spec: Spec, loader: VideoLoader, progress: bool = False) -> Features:
    """The feature vectors of a loader's videos under a network of normalised frames → logits.

    `spec` says how pixels are normalised, and the classes. The vectors are kept, one file a video, in
    `loader.cache_dir`, where that is not None: a video that is there is neither decoded nor shown to the network
    again, so a later video costs only itself, and a stopped extraction goes on where it stopped. Failures are tried
    again. A video's vectors are found by what its file contains, the protocol, the normalisation, the network
    without its head, and what runs it; `loader.overwrite_cache` computes them anew.

    Raises UserError for a network that cannot be probed and for views that it cannot take.
    """
    pooled = feature_network(network)
    features = tuple(f"feature {number}" for number in range(pooled.output_shape[-1]))
    model = network_classifier(pooled, replace(spec, classes=features))  # one whose logits are the features
    paths = _paths(pooled, spec, loader)
    found = [None if loader.overwrite_cache else _kept(path, loader, len(features)) for path in paths]
    _compute(model, loader, paths, found, progress)
    done = [
        (video, vectors)
        for video, vectors in zip(loader.videos, found, strict=True)
        if not isinstance(vectors, Failure)
    ]
    empty = np.empty((0, loader.protocol.views, len(features)), np.float32)
    places = {canonical_label(name): number for number, name in enumerate(spec.classes)}
    labels = [places.get(canonical_label(video.label), -1) if video.label else -1 for video, _ in done]
    return Features(
        np.stack([vectors for _, vectors in done]) if done else empty,
        tuple(video.video_id for video, _ in done),
        np.array(labels, np.int64),
        tuple(group_name(video) for video, _ in done),
        tuple(vectors for vectors in found if isinstance(vectors, Failure)),
    )


def _paths(pooled: keras.Model, spec: Spec, loader: VideoLoader) -> list[Path | None]:
    """Where each video's vectors are kept; None without a cache, and for a video that cannot be read."""
    if loader.cache_dir is None:
        return [None] * len(loader)
    arithmetic = [numbers.tolist() for numbers in spec.scale_and_shift()]
    runs_on = [keras.__version__, keras.backend.backend(), device_name()]
    common = json.dumps([network_digest(pooled), arithmetic, runs_on])
    return [_path(video, loader, common) for video in loader.videos]


def _path(video: Video, loader: VideoLoader, common: str) -> Path | None:
    if video.path is None:
        return None
    try:
        key = cache_key(video, loader.protocol, loader.frames_fps, loader.cache_dir)
    except OSError:  # the loader will say why
        return None
    return cache_path(loader.cache_dir, hashlib.sha256(f"{common} {key}".encode()).hexdigest(), "features")


def _kept(path: Path | None, loader: VideoLoader, width: int) -> np.ndarray | None:
    """(V, D) float32, or None where nothing is kept."""
    found = read_array(path) if path else None
    return np.array(found[0]) if found and found[0].shape == (loader.protocol.views, width) else None


def _compute(model: Classifier, loader: VideoLoader, paths: list, found: list, progress: bool) -> None:
    """Put the vectors of the videos that are missing in `found`, or their failures, into it, and keep them."""
    missing = [place for place, vectors in enumerate(found) if vectors is None]
    if not missing:
        return
    rest = copy.copy(loader)
    rest.videos = [loader.videos[place] for place in missing]
    problem = None
    with tqdm(total=len(found), initial=len(found) - len(missing), disable=not progress, unit="video") as bar:
        for place, (item, vectors) in zip(missing, run_views(model, rest), strict=True):
            found[place] = item if vectors is None else vectors
            if vectors is not None and paths[place] and not problem:
                try:
                    write_array(paths[place], vectors, {"video_id": item.video.video_id}, loader.cache_max_bytes)
                except OSError as full:  # a full disk must not cost a result
                    problem = f"{loader.cache_dir}: {full.strerror or full}"
                    log.warning("features are not kept (%s); the run goes on without", problem)
            bar.update()


# ------------------------------------------------------------------ a whole set as one file


def write_features(path: Path, features: Features) -> None:
    """Write `features.npy`: the vectors, (N, V, D), as `np.load` reads them; behind them ids, labels and groups."""
    facts = {"video_ids": features.video_ids, "labels": features.labels.tolist(), "groups": features.groups}
    write_array(Path(path), features.vectors, facts)


def read_features(path: Path) -> Features:
    """The inverse of `write_features`, without the failures; raises UserError for a missing or damaged file."""
    found = read_array(Path(path))
    if found is None or not {"video_ids", "labels", "groups"} <= set(found[1]):
        raise UserError(f"{path} is not there, is damaged or holds no features")
    vectors, facts = found
    labels = np.array(facts["labels"], np.int64)
    return Features(np.array(vectors), tuple(facts["video_ids"]), labels, tuple(facts["groups"]))
