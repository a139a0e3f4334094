"""Pictures → a calibrated image classifier: the head first, then all of it; the best epoch is kept."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np

from vidbench.candidates.calibrate import cross_fitted, expected_calibration_error, fit_temperature, mean_log_loss
from vidbench.candidates.classifier import DRAWINGS, ImageClassifier, build_network, set_trainable
from vidbench.candidates.pictures import Picture, class_order, squeezed
from vidbench.data.augment import jitter_colors
from vidbench.data.images import read_image
from vidbench.machine import stderr_held
from vidbench.metrics import accuracy_interval, ranking
from vidbench.models import keras

log = logging.getLogger(__name__)
HEAD_RATE = 1e-3  # of a fresh head on a frozen backbone
WEIGHT_DECAY = 1e-4
LEAST_CROP = 0.8  # of the side: training crops
JITTER = 0.2  # of brightness, contrast, saturation; the hue turns by a quarter of it


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; `learning_rate` is the fine-tuning's highest, it falls as a cosine.

    frozen_epochs: of the head alone, before `epochs` of all; none where `weights` is "none", with nothing to keep
    """

    backbone: str = "densenet121"
    weights: str = "imagenet"
    image_size: int = 224
    epochs: int = 8
    frozen_epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 3e-5
    seed: int = 0


class Batches(keras.utils.PyDataset):
    """Batches of (B, size, size, 3) float32 pixels, 0 to 255, and (B,) int labels, in a seeded order; augmented.

    The dice of a picture depend on the seed, the epoch and its place in the list alone.
    """

    def __init__(self, pictures: Sequence[Picture], classes: Sequence[str], recipe: Recipe):
        super().__init__()
        self.pictures, self.classes, self.recipe = pictures, classes, recipe
        self.epoch = 0
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.recipe.batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        batch = self.recipe.batch_size
        images, labels = [], []
        for place in self.order[number * batch : (number + 1) * batch]:
            picture = self.pictures[place]
            rng = np.random.default_rng([self.recipe.seed, self.epoch, place])
            images.append(augmented(read_image(picture.path), self.recipe.image_size, rng))
            labels.append(self.classes.index(picture.label))
        return np.stack(images).astype(np.float32), np.array(labels)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self.order = np.random.default_rng([self.recipe.seed, self.epoch]).permutation(len(self.pictures))


def augmented(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 → (size, size, 3) uint8: a crop of at least 0.8 of both sides, mirrored or not, other colours."""
    sides = np.array(image.shape[:2])
    height, width = np.maximum(1, np.round(sides * rng.uniform(LEAST_CROP, 1))).astype(int)
    top, left = rng.integers(sides[0] - height + 1), rng.integers(sides[1] - width + 1)
    small = squeezed(image[top : top + height, left : left + width], size)
    small = cv2.flip(small, 1) if rng.random() < 0.5 else small
    return jitter_colors(small[None], JITTER, rng)[0]


def readable(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """(those that can be decoded, those that cannot)."""
    good: list[Picture] = []
    bad: list[Picture] = []
    for picture in pictures:
        (bad if read_image(picture.path) is None else good).append(picture)
    return good, bad


def train_classifier(
    learned: Sequence[Picture],
    held_out: Sequence[Picture],
    recipe: Recipe,
    say: Callable[[str], None] = log.info,
) -> tuple[ImageClassifier, list[dict]]:
    """The best epoch's classifier, calibrated on the held-out pictures, and a row an epoch.

    Rows: epoch, stage ("head" or "all"), loss, accuracy, val_loss, val_accuracy. The best epoch has the lowest
    val_loss, which is that of the calibrated network. The record says what came out: accuracy with its interval,
    calibration error before and after.
    """
    keras.utils.set_random_seed(recipe.seed)
    classes = class_order(picture.label for picture in (*learned, *held_out))
    network = build_network(recipe.backbone, len(classes), recipe.image_size, recipe.weights)
    fresh = recipe.weights == "none" and recipe.backbone.lower() != DRAWINGS
    batches = Batches(learned, classes, recipe)
    seen = np.stack([squeezed(read_image(picture.path), recipe.image_size) for picture in held_out])
    labels = np.array([classes.index(picture.label) for picture in held_out])
    best = _Best(seen, labels, recipe.batch_size, say)
    if recipe.frozen_epochs and not fresh:
        set_trainable(network, backbone=False, norms=False)
        _fit(network, batches, best, "head", recipe.frozen_epochs, HEAD_RATE)
    set_trainable(network, backbone=True, norms=fresh)
    _fit(network, batches, best, "all", recipe.epochs, recipe.learning_rate)
    network.set_weights(best.weights)
    set_trainable(network, backbone=True, norms=True)
    logits = _logits(network, seen, recipe.batch_size)
    groups = np.array([picture.group for picture in held_out])
    record = _record(recipe, learned, logits, labels, groups, best)
    clean = keras.Model.from_config(network.get_config())  # without an optimiser
    clean.set_weights(network.get_weights())
    temperature = fit_temperature(logits, labels)
    return ImageClassifier(clean, classes, recipe.image_size, temperature, "", record), best.rows


class _Best(keras.callbacks.Callback):
    """The rows of all epochs, and the weights of the one with the lowest loss on the held-out pictures, calibrated.

    Not calibrated, a network that is too sure of itself would lose to one that knows nothing.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, batch_size: int, say: Callable[[str], None]):
        super().__init__()
        self.images, self.labels, self.batch_size, self.say = images, labels, batch_size, say
        self.rows: list[dict] = []
        self.weights, self.stage = None, ""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logits = _logits(self.model, self.images, self.batch_size)
        row = {
            "epoch": len(self.rows) + 1,
            "stage": self.stage,
            **{key: float(logs[key]) for key in ("loss", "accuracy")},
        }
        row |= {
            "val_loss": mean_log_loss(logits / fit_temperature(logits, self.labels), self.labels),
            "val_accuracy": float((ranking(logits)[:, 0] == self.labels).mean()),
        }
        if not self.rows or row["val_loss"] < min(other["val_loss"] for other in self.rows):
            self.weights = self.model.get_weights()
        self.rows.append(row)
        self.say(
            f"epoch {row['epoch']} ({self.stage}): loss {row['loss']:.3f}, held out {row['val_loss']:.3f}, "
            f"accuracy {row['val_accuracy']:.1%}"
        )


def _fit(network: keras.Model, batches: Batches, best: _Best, stage: str, epochs: int, rate: float) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(1, epochs * len(batches)))
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best.stage = stage
    with stderr_held():  # TensorFlow has something to say of its generator
        network.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[best])


def _logits(network: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """(N, size, size, 3) uint8 → (N, C) float32, in batches of one size."""
    parts = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size].astype(np.float32)
        filled = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.float32)])
        parts.append(np.asarray(network.predict_on_batch(filled))[: len(part)])
    return np.concatenate(parts)


def _record(recipe: Recipe, learned, logits, labels, groups, best: _Best) -> dict:
    hits = ranking(logits)[:, 0] == labels
    low, high = accuracy_interval(hits, groups)
    chosen = min(best.rows, key=lambda row: row["val_loss"])
    return {
        "feature_extractor": recipe.backbone.lower(),
        "held_out": {
            "pictures": len(labels),
            "sources": len(np.unique(groups)),
            "accuracy": float(hits.mean()),
            "ci95": [low, high],
        },
        "calibration_error": {
            "before": expected_calibration_error(logits, labels),
            "after": expected_calibration_error(cross_fitted(logits, labels, groups), labels),
        },
        "provenance": {
            "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
            "weights": DRAWINGS if recipe.backbone.lower() == DRAWINGS else recipe.weights,
            "pictures": len(learned),
            "epoch": chosen["epoch"],
            "epochs": len(best.rows),
            "learning_rate": recipe.learning_rate,
            "batch_size": recipe.batch_size,
            "seed": recipe.seed,
            "keras": keras.__version__,
        },
    }
