"""The loop: epochs of steps, each followed by a look at the val clips."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vidbench.data.load import Failure, Sample
from vidbench.data.train_loader import TrainingLoader
from vidbench.predict import Prediction, score
from vidbench.train.plan import Plan, build_optimizer, learning_rate, set_frozen
from vidbench.train.state import Progress
from vidbench.train.step import make_step
from vidbench.utils import UserError, canonical_label

if TYPE_CHECKING:
    from vidbench.models import Classifier

log = logging.getLogger(__name__)
UNREADABLE = "none of the val videos can be read"


class Training:
    """A network under a plan: what `fit` drives, and what a state file holds.

    classifier: the network as `predict.score` takes it, with the spec that the trained model will have
    progress: where it stands; optimizer and stage: of the epoch that comes next
    """

    def __init__(self, network: keras.Model, classifier: "Classifier", plan: Plan, progress=None, strategy=None):
        self.network, self.classifier, self.plan, self.strategy = network, classifier, plan, strategy
        self.progress = progress or Progress()
        self.optimizer, self.stage, self._step = None, "", None
        self.enter(self.progress.epoch)

    def enter(self, epoch: int) -> None:
        """Make the optimiser and the step of an epoch; they stay while the same weights learn."""
        frozen = self.plan.frozen_in(epoch)
        stage = "head" if frozen else "all"
        if stage == self.stage:
            return
        set_frozen(self.network, frozen)
        self.optimizer = build_optimizer(self.plan, self.network.trainable_variables)
        self._step = make_step(self.network, self.optimizer, self.classifier.spec, self.plan, self.strategy)
        self.stage = stage

    def step(self, batch, rate: float) -> tuple[float, float]:
        """Learn from one batch; (loss, hits)."""
        return self._step(batch, rate)

    def check(self) -> None:
        """Raise UserError unless all weights are numbers: what is saved must be good to go on with."""
        for variable in self.network.trainable_variables:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                raise UserError(_no_number("a weight", self.progress.epoch, self.progress.step))

    @property
    def is_over(self) -> bool:
        """Whether there is no epoch left."""
        return is_over(self.progress, self.plan)


def is_over(state: Progress, plan: Plan) -> bool:
    """Whether the plan's last epoch is done, or its patience at an end."""
    return state.epoch >= plan.epochs or bool(plan.patience and state.stale >= plan.patience)


def fit(
    training: Training,
    loader: TrainingLoader,
    validate: Callable[[], dict],
    *,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[dict, bool], None] = lambda row, best: None,
    progress: bool = False,
) -> list[dict]:
    """Train until the plan's last epoch, or until no better val accuracy came for `plan.patience` epochs.

    validate: gives the val numbers of the network as it stands, see `validation`. on_step: called after every step;
    on_epoch: after every epoch with its row and whether it is the best so far. progress: show a bar.

    Returns the rows of all epochs. Raises UserError when the loss is no number any more.
    """
    plan, state = training.plan, training.progress
    updates = len(loader) / plan.accumulate
    total = plan.epochs * len(loader)
    with (
        loader,
        tqdm(total=total, disable=not progress, unit="step", smoothing=0.1) as bar,
        logging_redirect_tqdm(),
    ):
        bar.update(state.epoch * len(loader) + state.step)
        while not training.is_over:
            training.enter(state.epoch)
            began = time.monotonic() - state.seconds
            for batch in loader.batches(state.epoch, state.step):
                update = (state.epoch * len(loader) + state.step) // plan.accumulate
                rate = learning_rate(plan, update, updates)
                loss, hits = training.step(batch, rate)
                if not math.isfinite(loss):
                    raise UserError(_no_number(f"the loss is {loss}", state.epoch, state.step + 1))
                state.step += 1
                state.loss_sum += loss * loader.batch_size
                state.hits += hits
                state.clips += loader.batch_size
                state.seconds = time.monotonic() - began
                state.note_failures(loader.failures, loader.replaced)
                bar.set_postfix_str(_postfix(state, loss), refresh=False)
                bar.update()
                on_step()
            training.check()
            last = ((state.epoch + 1) * len(loader) - 1) // plan.accumulate
            row = _row(state, learning_rate(plan, last, updates))
            row |= validate() | {"seconds": round(time.monotonic() - began, 2)}
            best = _finish_epoch(state, row, plan)
            on_epoch(row, best)
    return state.history


def _row(state: Progress, rate: float) -> dict:
    return {
        "epoch": state.epoch + 1,
        "learning_rate": rate,
        "train_loss": state.loss_sum / state.clips,
        "train_top1": state.hits / state.clips,
    }


def _no_number(what: str, epoch: int, step: int) -> str:
    where = f"in epoch {epoch + 1}, step {step}"
    told = f"{what} {where}" if what.startswith("the loss") else f"{what} is no number any more {where}"
    return (
        f"{told}: nothing to go on with; the last save is kept. A smaller --learning-rate, a longer --warmup-epochs or "
        "--clip-norm 1 may help, under another --name or with --overwrite"
    )


def _finish_epoch(state: Progress, row: dict, plan: Plan) -> bool:
    """Write the row down and begin the next epoch; whether it is the best: by accuracy, then by the smaller loss.

    While a backbone waits to be freed, patience does not run out.
    """
    state.history.append(row)
    best = state.best is None or _goodness(row) > _goodness(state.best)
    waits = plan.frozen_in(state.epoch) and plan.unfreeze_at is not None
    state.best, state.stale = row if best else state.best, 0 if best or waits else state.stale + 1
    state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
    state.loss_sum, state.hits, state.clips = 0.0, 0.0, 0
    return best


def _goodness(row: dict) -> tuple[float, float]:
    return row["val_top1"], -row["val_loss"]


def _postfix(state: Progress, loss: float) -> str:
    val = f", val {state.history[-1]['val_top1']:.1%}" if state.history else ""
    return f"epoch {state.epoch + 1}, loss {loss:.3f}, train {state.hits / state.clips:.1%}{val}"


def check_readable(videos: Iterable[Sample | Failure], gather=lambda sums: sums) -> None:
    """Raise UserError unless a val video can be read: `validation` would, but only after an epoch.

    The first such video is enough. gather: adds an array up over processes, which see different videos.
    """
    if not gather(np.array([any(isinstance(item, Sample) for item in videos)], np.float32))[0]:
        raise UserError(UNREADABLE)


def validation(classifier: "Classifier", videos: Iterable[Sample | Failure], gather=lambda sums: sums) -> dict:
    """val_top1 and val_loss of a loader's videos at video level, as `evaluate` scores them.

    val_loss is the mean of -log of the label's probability, averaged over a video's views before. Videos that cannot
    be read count in neither. gather: adds (hits, losses, videos) up over processes, which see different videos.

    Raises UserError where no video can be read.
    """
    places = {canonical_label(name): place for place, name in enumerate(classifier.spec.classes)}
    sums = np.zeros(3)
    for outcome in score(classifier, videos):
        if isinstance(outcome, Prediction):
            place = places[canonical_label(outcome.video.label)]
            hit = outcome.probabilities.argmax() == place
            sums += hit, -math.log(max(float(outcome.probabilities[place]), 1e-12)), 1
    hits, losses, videos = gather(sums)
    if not videos:
        raise UserError(UNREADABLE)
    return {"val_loss": float(losses / videos), "val_top1": float(hits / videos)}
