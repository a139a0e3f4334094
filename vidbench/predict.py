"""A classifier and videos → predictions: one clip in a notebook, or a whole data set."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vidbench.data.load import Failure, Sample, reorder_views
from vidbench.data.records import Video
from vidbench.metrics import ranking, softmax
from vidbench.utils import UserError, canonical_label

if TYPE_CHECKING:  # TensorFlow takes seconds to import
    from vidbench.models import Classifier


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a classifier says of one video: `views` (V, C) float32, the probabilities of each of its views."""

    sample: Sample
    views: np.ndarray

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(C,) float32: the mean over the views. Probabilities are averaged, not logits."""
        return self.views.mean(axis=0, dtype=np.float64).astype(np.float32)

    @property
    def video(self) -> Video:
        """The video that was scored."""
        return self.sample.video


Outcome = Prediction | Failure


def predict(
    frames: np.ndarray, model: "Classifier", verbose: bool = False
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """The classes of one clip or a batch of clips, likeliest first.

    frames: (T, H, W, 3) or (B, T, H, W, 3) uint8 RGB of the model's size. Returns probabilities (B, C) float32
    in falling order, their class names (B, C), the seconds it took, and the index of the best class (B,).
    With `verbose` the five likeliest are printed. Raises ValueError for another shape or dtype.
    """
    batch = frames[None] if frames.ndim == 4 else frames
    if batch.ndim != 5 or batch.shape[-1] != 3 or batch.dtype != np.uint8:
        raise ValueError(f"wanted (T, H, W, 3) or (B, T, H, W, 3) uint8 RGB, got {frames.shape} {frames.dtype}")
    begin = time.perf_counter()
    probabilities = softmax(model(batch))
    seconds = time.perf_counter() - begin
    order = ranking(probabilities)
    best_first = np.take_along_axis(probabilities, order, axis=1)
    names = np.array(model.spec.classes, dtype=object)[order]
    if verbose:
        for row, (shares, labels) in enumerate(zip(best_first, names, strict=True)):
            listed = ", ".join(f"{label} {share:.1%}" for label, share in zip(labels[:5], shares[:5], strict=True))
            print(f"clip {row}: {listed}  ({seconds:.2f} s)")
    return best_first, names, seconds, order[:, 0]


def score(
    model: "Classifier",
    loader: Iterable[Sample | Failure],
    *,
    frame_order: str = "normal",
    distinct_frames: int | None = None,
    seed: int = 0,
) -> Iterator[Outcome]:
    """Every video of a loader with its probabilities, or its failure, in the loader's order.

    `frame_order` and `distinct_frames` change the clip before the model sees it: see `sampling.reorder`.
    """
    for item, logits in run_views(model, loader, frame_order=frame_order, distinct_frames=distinct_frames, seed=seed):
        if isinstance(item, Sample):
            yield Prediction(item, softmax(logits))
        else:
            yield item


def run_views(
    model: "Classifier",
    loader: Iterable[Sample | Failure],
    *,
    frame_order: str = "normal",
    distinct_frames: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[Sample | Failure, np.ndarray | None]]:
    """Every item of a loader, in its order, with what the model gives for its views, (V, C) float32; None for failures.

    Videos are gathered until they hold as many views as the model takes at once (`model.clips_at_once`: one on a
    CPU). `frame_order` and `distinct_frames` as in `score`.
    """
    waiting: list[Sample | Failure] = []
    views, begun = 0, deque()
    for item in loader:
        waiting.append(item)
        views += item.protocol.views if isinstance(item, Sample) else 0
        if views >= model.clips_at_once:
            begun.append(_begin_batch(model, waiting, frame_order, distinct_frames, seed))
            waiting, views = [], 0
        if len(begun) > model.in_flight:
            yield from begun.popleft()()
    begun.append(_begin_batch(model, waiting, frame_order, distinct_frames, seed))
    for wait in begun:
        yield from wait()


def _begin_batch(model, waiting, frame_order, distinct_frames, seed) -> Callable[[], Iterator[tuple]]:
    """Start the samples among `waiting`, and return what gives each item of it with its logits."""
    samples = [item for item in waiting if isinstance(item, Sample)]
    logits = None
    if samples:
        each = [
            reorder_views(sample.views(), sample.video.video_id, frame_order, distinct_frames, seed)
            for sample in samples
        ]
        logits = model.start(each[0] if len(each) == 1 else np.concatenate(each))

    def wait() -> Iterator[tuple]:
        outputs = iter(np.split(logits(), len(samples)) if samples else ())
        for item in waiting:
            yield item, next(outputs) if isinstance(item, Sample) else None

    return wait


def evaluate(
    model: "Classifier",
    loader: Iterable[Sample | Failure],
    *,
    top_n: int = 5,
    progress: bool = False,
    sink: Callable[[Outcome], None] | None = None,
    enough: Callable[[], bool] = lambda: False,
    **looks,
) -> pd.DataFrame:
    """Score a loader's videos; returns one row a scored video, as `predictions.csv` has them.

    Every outcome is handed to `sink` as soon as it is there; it ends early once `enough()` is true. `looks` go to
    `score`: frame_order … The bar shows videos a second, failures and the running top-1 accuracy.
    """
    total = len(loader) if hasattr(loader, "__len__") else None
    outcomes = score(model, loader, **looks)
    return collect(outcomes, model.spec.classes, top_n=top_n, total=total, progress=progress, sink=sink, enough=enough)


def collect(
    outcomes: Iterable[Outcome],
    classes: tuple[str, ...],
    *,
    top_n: int = 5,
    total: int | None = None,
    progress: bool = False,
    sink: Callable[[Outcome], None] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """What `evaluate` makes of outcomes, wherever they come from; total: how many there will be, for the bar."""
    rows, failed, hits, labelled = [], 0, 0, 0
    known = {canonical_label(name) for name in classes}
    with tqdm(total=total, disable=not progress, unit="video", smoothing=0.1) as bar, logging_redirect_tqdm():
        for outcome in outcomes:
            if sink is not None:
                sink(outcome)
            if isinstance(outcome, Prediction):
                rows.append(prediction_row(outcome, classes, top_n))
                if outcome.video.label is not None and canonical_label(outcome.video.label) in known:
                    labelled += 1
                    hits += canonical_label(rows[-1]["pred_1"]) == canonical_label(outcome.video.label)
            else:
                failed += 1
            top1 = f"{hits / labelled:.1%}" if labelled else "–"
            bar.set_postfix_str(f"failed {failed}, top-1 {top1}", refresh=False)
            bar.update()
            if enough():
                break
    return pd.DataFrame(rows, columns=row_names(min(top_n, len(classes))))


def prediction_row(prediction: Prediction, classes: tuple[str, ...], top_n: int) -> dict[str, str]:
    """`video_id, label, pred_1, score_1, …`: names and probabilities of the best classes, as text."""
    row = {"video_id": prediction.video.video_id, "label": prediction.video.label or ""}
    return row | best_classes(prediction.probabilities, classes, top_n)


def best_classes(probabilities: np.ndarray, classes: tuple[str, ...], top_n: int) -> dict[str, str]:
    """(C,) probabilities → `pred_1, score_1, …`: names and probabilities of the best classes, as text."""
    row = {}
    for place, index in enumerate(ranking(probabilities)[:top_n], start=1):
        row[f"pred_{place}"] = classes[index]
        row[f"score_{place}"] = f"{probabilities[index]:.6g}"
    return row


def row_names(top_n: int) -> list[str]:
    """The columns of `predictions.csv`."""
    return ["video_id", "label", *(f"{kind}_{n}" for n in range(1, top_n + 1) for kind in ("pred", "score"))]


def compute_accuracy(results: pd.DataFrame, *, num_top_classes: int) -> float:
    """Percent of labelled rows whose label is among the first `num_top_classes` predictions.

    results: rows as `evaluate` returns and `predictions.csv` holds them. Raises UserError where the rows keep
    fewer predictions than asked, or none is labelled.

    >>> rows = pd.DataFrame({"label": ["a", "b"], "pred_1": ["a", "a"], "pred_2": ["b", "c"]})
    >>> compute_accuracy(rows, num_top_classes=1)
    50.0
    """
    columns = [f"pred_{place}" for place in range(1, num_top_classes + 1)]
    if missing := [name for name in columns if name not in results]:
        raise UserError(f"top-{num_top_classes} needs the column {missing[0]}: score with --top-n {num_top_classes}")
    hits = row_hits(results, num_top_classes)
    if not len(hits):
        raise UserError("no row has a label: there is nothing to compute an accuracy from")
    return 100 * float(hits.mean())


def row_hits(results: pd.DataFrame, k: int) -> np.ndarray:
    """(labelled rows,) bool: whether the label is among the first `k` predictions, names compared canonically."""
    labelled = results[results["label"].fillna("") != ""]
    labels = labelled["label"].map(canonical_label).to_numpy()
    hits = np.zeros(len(labelled), bool)
    for place in range(1, k + 1):
        hits |= labelled[f"pred_{place}"].map(canonical_label).to_numpy() == labels
    return hits
