"""Training from a notebook: videos and a model in, the best model out; nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import pandas as pd

from vidbench.data.augment import Augmentation
from vidbench.data.load import Failure, VideoLoader
from vidbench.data.records import Video
from vidbench.data.train_loader import TrainingLoader
from vidbench.machine import usable_cpus
from vidbench.models import Classifier, network_classifier
from vidbench.runtimes.precision import keep_short_kernels
from vidbench.train.loop import Training, check_readable, fit, validation
from vidbench.train.network import start_from
from vidbench.train.plan import Plan, set_frozen
from vidbench.utils import UserError, canonical_label

TUNED = "-fine-tuned"  # what the name of a model that has seen more ends in


@dataclass(frozen=True, eq=False)
class History:
    """What training gave.

    epochs: a row an epoch: train and val loss, train and val top-1 (fractions), learning rate, seconds
    model: the network of the best epoch, by val top-1, then val loss; `save_model(model.network, path, model.spec)`
    best: that epoch's row
    failures: the training videos that could not be read, other clips stood in for them
    """

    epochs: pd.DataFrame
    model: Classifier
    best: dict
    failures: list[Failure]


def fine_tune(
    model: str | Path | Classifier,
    train: Sequence[Video],
    val: Sequence[Video],
    epochs: int = 10,
    *,
    weights: str | Path | None = None,
    augmentation: Augmentation | None = None,
    num_frames: int | None = None,
    frame_rate: float | None = None,
    clips_per_video: int = 1,
    views: tuple[int, int] | None = (1, 1),
    dropout: float | None = None,
    precision: str = "float32",
    class_weights: bool = False,
    seed: int = 0,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
    **plan,
) -> History:
    """Train `model` on labelled videos and give back the best epoch's; a bar shows how it goes.

        data = load_dataset("folder", "train", "clips"), load_dataset("folder", "val", "clips")
        history = fine_tune("x3d_s", data[0].videos, data[1].videos, epochs=5, weights="kinetics400")

    model, weights: as `load_model` takes them; an architecture without weights begins from nothing, and where the
        classes differ the last layer begins anew
    train, val: videos with labels; the classes are the training videos', sorted, or the model's where they are the same
    augmentation: what happens to training clips, with a function of one's own if wanted; see `Augmentation`
    num_frames, frame_rate, views: in place of the model's own protocol; views=None keeps its views in val
    cache_dir: keep decoded videos there, None: decode them for each clip
    plan: further fields of `Plan`: batch_size, learning_rate, freeze_backbone, patience …

    It sets the seed of Keras, NumPy and Python. Raises UserError for whatever the user can mend.
    """
    labels = {canonical_label(video.label): video.label for video in train if video.label is not None}
    if not labels:
        raise UserError("no training video has a label")
    keras.utils.set_random_seed(seed)
    start = start_from(model, sorted(labels.values()), weights, dropout, precision)
    protocol = start.spec.protocol.override(num_frames, frame_rate, views, None, "repeat")
    seen = f"{len(train):,} videos of {len(labels)} classes"
    before = f", before that {start.spec.domain}" if start.source else ""
    told = {"domain": seen + before, "provenance": {"began_with": start.weights}, "overridden": {}}
    name = f"{start.spec.name.removesuffix(TUNED)}{TUNED}" if start.source else start.spec.name
    spec = replace(start.spec.with_protocol(protocol), name=name, **told)
    if precision == "bfloat16":
        keep_short_kernels(start.network, (protocol.num_frames, *protocol.frame_size, 3))
    wanted = Plan(epochs=epochs, **plan)
    known = [video for video in val if video.label is not None and canonical_label(video.label) in labels]
    if not known:
        raise UserError(f"no val video has one of the classes {', '.join(spec.classes[:5])}")
    loader = TrainingLoader(
        train,
        spec.classes,
        protocol,
        augmentation,
        batch_size=wanted.batch_size,
        clips_per_video=clips_per_video,
        seed=seed,
        label_smoothing=wanted.label_smoothing,
        class_weights=class_weights,
        workers=workers,
        cache_dir=cache_dir,
    )
    judged = VideoLoader(known, protocol, cache_dir=cache_dir, workers=workers or usable_cpus())
    check_readable(judged)
    classifier = network_classifier(start.network, spec)
    training = Training(start.network, classifier, wanted)
    best: list = []

    def keep(row: dict, is_best: bool) -> None:
        if is_best:
            best[:] = start.network.get_weights()

    rows = fit(training, loader, lambda: validation(classifier, judged), on_epoch=keep, progress=progress)
    start.network.set_weights(best)
    set_frozen(start.network, False)
    return History(pd.DataFrame(rows), classifier, training.progress.best, list(loader.failures.values()))
