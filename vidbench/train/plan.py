"""What a training run does, as plain values: the optimiser, how its rate goes, what is frozen, when it stops."""

import math
from dataclasses import asdict, dataclass

import keras

from vidbench.models.weights import HEAD
from vidbench.utils import UserError

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "step", "constant")


@dataclass(frozen=True)
class Plan:
    """The optimisation of one run.

    epochs, batch_size: passes over the training clips; clips a step, over all devices and processes together
    accumulate:      steps whose gradients are averaged before the weights change; what is left over at the end, or when
                     a backbone is freed, is dropped
    optimizer:       "sgd" (with `momentum`; Keras keeps rate × gradient in it, torch the gradient: they differ for some
                     steps after the rate changes), "adam" or "adamw"
    learning_rate:   the highest one; `warmup_epochs` lead to it in a straight line from `warmup_factor` of it
    schedule:        after that "cosine" down to `min_factor` of it in the last step, "step" (times `gamma` at each
                     of `milestones`, epochs counted from the beginning), or "constant"
    weight_decay:    of kernels, not of norms and biases. sgd and adam add it to the gradient as torch does (L2), adamw
                     takes rate × decay off the weights (Loshchilov & Hutter 2019, arXiv:1711.05101); None: 1e-4, 0.02
    clip_norm:       longest gradient, all variables together, an L2 decay included; None: as they come
    label_smoothing: share of a label that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567)
    freeze_backbone: train the last layer alone, its batch norms at rest, before epoch `unfreeze_at` (None: throughout)
    patience:        epochs without a better val accuracy after which the run stops; None: it never does
    """

    epochs: int = 10
    batch_size: int = 8
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float | None = None
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 1.0
    warmup_factor: float = 0.01
    min_factor: float = 0.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    freeze_backbone: bool = False
    unfreeze_at: int | None = None
    patience: int | None = None

    def __post_init__(self):
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.weight_decay is None:
            object.__setattr__(self, "weight_decay", 0.02 if self.optimizer == "adamw" else 1e-4)
        for name in ("epochs", "batch_size", "accumulate", "learning_rate", "clip_norm", "patience"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be positive, got {getattr(self, name):g}")
        for name in ("momentum", "label_smoothing", "warmup_factor", "min_factor", "gamma"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {getattr(self, name):g}")
        if min(self.weight_decay, self.warmup_epochs, 0, *self.milestones) < 0:
            raise UserError("weight decay, warm-up and milestones must not be negative")
        if self.unfreeze_at is not None and not (self.freeze_backbone and self.unfreeze_at > 0):
            raise UserError("unfreeze_at is a number of epochs, at least 1, and goes with freeze_backbone")
        if self.unfreeze_at is not None and self.unfreeze_at >= self.epochs:
            raise UserError(f"unfreeze_at {self.unfreeze_at} comes after the last of {self.epochs} epochs")
        if (self.schedule == "step") != bool(self.milestones):
            raise UserError('milestones and the schedule "step" go together')
        if list(self.milestones) != sorted(self.milestones):
            raise UserError(f"milestones must rise, got {' '.join(map(str, self.milestones))}")

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)

    def frozen_in(self, epoch: int) -> bool:
        """Whether only the last layer learns in this epoch, counted from 0."""
        return self.freeze_backbone and (self.unfreeze_at is None or epoch < self.unfreeze_at)


def learning_rate(plan: Plan, update: int, updates_an_epoch: float) -> float:
    """The rate of one update of the weights, counted from 0.

    A warm-up of 2 epochs of 4 updates, then a step down after epoch 3:

    >>> plan = Plan(epochs=4, learning_rate=1, schedule="step", milestones=(3,), warmup_epochs=2, warmup_factor=0)
    >>> [learning_rate(plan, update, 4) for update in (0, 4, 8, 11, 12, 15)]
    [0.0, 0.5, 1.0, 1.0, 0.1, 0.1]
    """
    warmup = plan.warmup_epochs * updates_an_epoch
    if update < warmup:
        return plan.learning_rate * (plan.warmup_factor + (1 - plan.warmup_factor) * update / warmup)
    if plan.schedule == "step":
        passed = sum(update >= milestone * updates_an_epoch for milestone in plan.milestones)
        return plan.learning_rate * plan.gamma**passed
    if plan.schedule == "cosine":
        left = max(1.0, plan.epochs * updates_an_epoch - warmup - 1)  # the last update is at the bottom
        share = min(1.0, (update - warmup) / left)
        low = plan.min_factor
        return plan.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * share)) / 2)
    return plan.learning_rate


def scaled_rate(rate: float, batch: int, base_batch: int) -> float:
    """A rate that was found for `base_batch` clips an update, for `batch` of them: in proportion.

    Goyal et al. 2017, arXiv:1706.02677.

    >>> scaled_rate(0.64, 24, 1536)
    0.01
    """
    return rate * batch / base_batch


def decayed(variables) -> list:
    """The variables that weight decay is for: kernels. Norms and biases are vectors."""
    return [variable for variable in variables if len(variable.shape) > 1]


def build_optimizer(plan: Plan, variables) -> keras.Optimizer:
    """The plan's optimiser over `variables`; its rate is set before every step, see `learning_rate`."""
    options = {"learning_rate": float(plan.learning_rate), "global_clipnorm": plan.clip_norm}
    if plan.accumulate > 1:
        options["gradient_accumulation_steps"] = plan.accumulate
    if plan.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=float(plan.momentum), **options)
    elif plan.optimizer == "adam":
        optimizer = keras.optimizers.Adam(**options)
    else:
        optimizer = keras.optimizers.AdamW(weight_decay=plan.weight_decay, **options)
        kept = {id(variable) for variable in decayed(variables)}
        optimizer.exclude_from_weight_decay([variable for variable in variables if id(variable) not in kept])
    optimizer.build(variables)
    return optimizer


def set_frozen(network: keras.Model, frozen: bool) -> None:
    """Let only the last layer learn, or all of them; a frozen batch norm uses its averages and keeps them."""
    for layer in network.layers:
        layer.trainable = not frozen or layer.name.startswith(HEAD)
    if not network.trainable_variables:
        raise UserError(f"{network.name} has no layers called {HEAD}…: nothing is left to train with a frozen backbone")
