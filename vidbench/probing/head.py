"""A linear head on pooled features: logistic regression whose strength whole held-out recordings choose."""

import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from vidbench.data.balance import assign
from vidbench.metrics import softmax, top_k_accuracy
from vidbench.probing.features import Features, head_layer
from vidbench.utils import UserError

log = logging.getLogger(__name__)
STRENGTHS = tuple(10.0**power for power in range(-5, 3))
TOLERANCE = 1e-5  # of the mean loss's gradient
MAX_STEPS = 2000  # of the optimiser; some tens are usual


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head in the network's own scale, and how it was chosen.

    kernel: (D, C) float32, bias: (C,) float32: logits = features @ kernel + bias
    strength: the chosen C, the inverse of the regularisation: the loss, summed over videos, counts so many times
    scores: one row a strength that was tried: `strength`, and over all held-out videos `accuracy` and `log_loss`
    held_out: (N, C) float32, the probabilities of each video by the fold that did not see it; nan without a label
    folds: (N,) int64, the fold that each video was held out in, -1 without a label
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    scores: pd.DataFrame
    held_out: np.ndarray
    folds: np.ndarray

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """(N, V, D) feature vectors → (N, C) float32, see `video_probabilities`."""
        return video_probabilities(vectors, self.kernel, self.bias)


def fit_head(features: Features, classes: Sequence[str], seed: int = 0, folds: int = 5) -> Head:
    """A multinomial logistic regression on the labelled videos' standardised vectors, with L2 regularisation.

    classes: the names of the labels 0 … C - 1

    Each view is a row that weighs 1 / V, so that a video counts once; in scoring, probabilities are averaged over
    the views. Of `STRENGTHS` the one with the least mean log loss of held-out videos is chosen (accuracy has ties
    where videos are few), the weakest of equal ones; its figure is that of the best of several, so a little
    optimistic. No recording is in two folds, and all folds are as alike in classes as that allows. There are fewer
    than `folds` where a class comes from fewer recordings. The same everywhere for a seed, but for rounding.

    Raises UserError for fewer than two classes, a class without videos, or one that comes from a single recording.
    """
    known = features.labels >= 0
    kept = features[known]
    fold_of = choose_folds(kept, classes, folds, seed)
    held_out = held_out_probabilities(kept, fold_of, STRENGTHS)
    scores = pd.DataFrame(
        {
            "strength": STRENGTHS,
            "accuracy": [top_k_accuracy(table, kept.labels) for table in held_out],
            "log_loss": [log_loss(table, kept.labels) for table in held_out],
        }
    )
    best = int(scores["log_loss"].argmin())
    kernel, bias = fit_linear(kept.vectors, kept.labels, STRENGTHS[best])
    held_out, fold_of = _spread(held_out[best], known, np.nan), _spread(fold_of, known, -1)
    return Head(kernel, bias, STRENGTHS[best], scores, held_out, fold_of)


def set_head(network: keras.Model, head: Head) -> None:
    """Put the head's kernel and bias into the network's own last layer, in place.

    Raises UserError for a network that cannot be probed, or that has other numbers of features or classes.
    """
    layer = head_layer(network)
    wanted = (*layer.kernel.shape[-2:],)
    if head.kernel.shape != wanted:
        raise UserError(
            f"{network.name} makes {wanted[1]} logits of {wanted[0]} features, the probe {head.kernel.shape[1]} of "
            f"{head.kernel.shape[0]}"
        )
    layer.kernel.assign(head.kernel.reshape(layer.kernel.shape))
    layer.bias.assign(head.bias)


def choose_folds(features: Features, classes: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """(N,) int64: the fold of each labelled video, 0 … at most `folds` - 1.

    No group is in two folds, every class is in two at least, so that each is seen whatever fold is held out. As many
    folds as the rarest class has groups, if `folds` allows; else fewer, else more. Raises UserError as `fit_head`.
    """
    check_classes(features, classes)
    content: dict[str, Counter] = defaultdict(Counter)
    for group, label in zip(features.groups, features.labels.tolist(), strict=True):
        content[group][label] += 1
    groups_of = Counter(label for labels in content.values() for label in labels)
    rarest = min(groups_of, key=lambda label: (groups_of[label], label))
    if groups_of[rarest] < 2:
        raise UserError(
            f"class {classes[rarest]!r}, that of {_example(features, rarest)}, comes from one recording only: to "
            "choose a probe's strength each class needs two, one to learn from and one to be held out"
        )
    fitting = min(folds, groups_of[rarest])
    for number in (*range(fitting, 1, -1), *range(fitting + 1, folds + 1)):
        place = assign(content, [1] * number, seed)
        fold_of = np.array([place[group] for group in features.groups], np.int64)
        if all(len(np.unique(fold_of[features.labels == label])) > 1 for label in groups_of):
            return fold_of
    raise UserError(
        f"a probe needs two folds or more, and no two were found that cut no recording and both have all classes "
        f"({len(content)} recordings, {folds} folds asked for)"
    )


def check_classes(features: Features, classes: Sequence[str]) -> None:
    """Raise UserError unless there are two classes or more, and each has a video."""
    num_classes = len(classes)
    if num_classes < 2:
        raise UserError(f"a probe tells classes apart: it needs two or more, got {num_classes}")
    if beyond := sorted({label for label in features.labels.tolist() if label >= num_classes}):
        raise UserError(f"labels are 0 … {num_classes - 1} for {num_classes} classes, got {beyond[0]}")
    if missing := sorted(set(range(num_classes)) - set(features.labels.tolist())):
        listed = ", ".join(classes[label] for label in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise UserError(f"{len(missing)} of {num_classes} classes have no training video with features: {listed}")


def held_out_probabilities(
    features: Features, folds: np.ndarray, strengths: Sequence[float], learnt: np.ndarray | None = None
) -> np.ndarray:
    """(S, N, C) float32: for each of S rising strengths, the videos as heads see them that learnt from other folds.

    folds: (N,) of the videos, all labelled
    learnt: (N,) bool, the videos that heads may learn from, None for all; where they lack a class, it is all again
    """
    num_classes = int(features.labels.max()) + 1
    learnt = np.ones(len(features), bool) if learnt is None else learnt
    probabilities = np.empty((len(strengths), len(features), num_classes), np.float32)
    for fold in np.unique(folds):
        held, rest = folds == fold, features[(folds != fold) & learnt]
        if len(np.unique(rest.labels)) < num_classes:
            rest = features[~held]
        for place, fitted in enumerate(fit_path(rest.vectors, rest.labels, strengths)):
            probabilities[place, held] = video_probabilities(features.vectors[held], *fitted)
    return probabilities


def fit_linear(vectors: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The kernel (D, C) and bias (C,), float32, that `fit_path` reaches at `strength` by way of the weaker ones."""
    *_, (kernel, bias) = fit_path(vectors, labels, path_to(strength))
    return kernel, bias


def path_to(strength: float) -> tuple[float, ...]:
    """The strengths below `strength` that are tried, and itself."""
    return (*(weaker for weaker in STRENGTHS if weaker < strength), strength)


def fit_path(
    vectors: np.ndarray, labels: np.ndarray, strengths: Iterable[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(N, V, D) vectors and (N,) labels, all of 0 … C - 1 among them → kernel and bias, float32, for each strength.

    Fitted in float64 on (x - mean) / std a feature, which is then folded into kernel and bias. The strengths rise,
    and the search for each goes on where the last one stopped.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    views = vectors.shape[1]
    scaler = StandardScaler()
    rows = scaler.fit_transform(vectors.reshape(-1, vectors.shape[-1]).astype(np.float64))
    row_labels, weights = np.repeat(labels, views), np.full(len(rows), 1 / views)
    model = LogisticRegression(max_iter=MAX_STEPS, tol=TOLERANCE, warm_start=True)
    for strength in strengths:
        # one thread: a second one, on busy cores, made these narrow products seven times slower; and rounding is then
        # the same on any number of cores
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in our words
            model.set_params(C=strength).fit(rows, row_labels, weights)
        if model.n_iter_.max() >= MAX_STEPS:
            log.warning("a probe of strength %g was still moving after %d steps", strength, MAX_STEPS)
        coefficients, intercept = model.coef_, model.intercept_
        if len(coefficients) == 1:  # of two classes scikit-learn has the difference of their logits
            coefficients, intercept = (np.concatenate([-part / 2, part / 2]) for part in (coefficients, intercept))
        kernel = (coefficients / scaler.scale_).T
        yield kernel.astype(np.float32), (intercept - scaler.mean_ @ kernel).astype(np.float32)


def video_probabilities(vectors: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(N, V, D) float32 vectors → (N, C) float32: the views' probabilities averaged, as `vidbench.predict` does."""
    return softmax(vectors @ kernel + bias).mean(axis=1, dtype=np.float64).astype(np.float32)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log of the label's probability: probabilities (N, C), labels (N,) int.

    >>> round(log_loss(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)  # (ln 2 + ln 4/3) / 2
    0.4904
    """
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())


def _example(features: Features, label: int) -> str:
    return repr(features.video_ids[int((features.labels == label).argmax())])


def _spread(values: np.ndarray, known: np.ndarray, fill: float) -> np.ndarray:
    """The labelled videos' values at their places among all videos."""
    spread = np.full((len(known), *values.shape[1:]), fill, values.dtype)
    spread[known] = values
    return spread
