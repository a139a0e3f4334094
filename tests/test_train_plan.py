"""Optimisation against hand-worked values."""

import keras
import numpy as np
import pytest

from vidbench.data.train_loader import Batch
from vidbench.models import build_model
from vidbench.models.spec import Spec
from vidbench.models.tiny import PROTOCOL
from vidbench.runtimes import on_jax
from vidbench.train.plan import Plan, build_optimizer, decayed, learning_rate, scaled_rate, set_frozen
from vidbench.train.step import make_step
from vidbench.utils import UserError

TORCHVISION = Plan(
    epochs=45, learning_rate=0.64, optimizer="sgd", schedule="step", milestones=(20, 30, 40), gamma=0.1,
    warmup_epochs=10, warmup_factor=0.001,
)  # fmt: skip


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.00064), (5, 0.32032), (10, 0.64), (19.99, 0.64), (20, 0.064), (30, 0.0064), (44.99, 0.00064)],
)
def test_the_recipe_of_torchvision(epoch, rate):
    """0.64 · (0.001 + 0.999 · 5 / 10) = 0.32032 in the middle of the warm-up; a tenth at 20, 30 and 40."""
    assert learning_rate(TORCHVISION, round(epoch * 100), 100) == pytest.approx(rate)


def test_a_cosine_begins_at_the_top_and_ends_at_the_bottom():
    plan = Plan(epochs=3, learning_rate=2, warmup_epochs=1, warmup_factor=0, min_factor=0.1)
    rates = [learning_rate(plan, update, 5) for update in range(15)]
    assert rates[:6] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2])
    assert rates[-1] == pytest.approx(0.2)
    assert rates[8] == pytest.approx(0.2 + 0.9 * (1 + np.cos(np.pi * 3 / 9)))  # a third of the way: 1.55
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_a_constant_rate_stays_and_warm_up_may_end_within_an_epoch():
    plan = Plan(learning_rate=1, schedule="constant", warmup_epochs=0.5, warmup_factor=0.5)
    assert [learning_rate(plan, update, 4) for update in range(4)] == [0.5, 0.75, 1, 1]


def test_rates_go_with_the_batch():
    assert scaled_rate(0.64, 24, 64 * 24) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adam, adamw, got 'lion'"),
        ({"schedule": "poly"}, "schedule must be one of"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"label_smoothing": 1.5}, "label_smoothing must lie between 0 and 1"),
        ({"weight_decay": -1}, "must not be negative"),
        ({"unfreeze_at": 2}, "goes with freeze_backbone"),
        ({"milestones": (3, 2), "schedule": "step"}, "milestones must rise, got 3 2"),
        ({"milestones": (3,)}, 'milestones and the schedule "step" go together'),
        ({"schedule": "step"}, 'milestones and the schedule "step" go together'),
        ({"freeze_backbone": True, "unfreeze_at": 10}, "unfreeze_at 10 comes after the last of 10 epochs"),
    ],
)
def test_plans_that_cannot_be(values, message):
    with pytest.raises(UserError, match=message):
        Plan(**values)


def linear(weights):
    """A network whose logits are the mean colour times `weights` (3, 2), and its spec: pixels 0…1."""
    frames = keras.Input((None, None, None, 3), name="frames")
    mean = keras.layers.GlobalAveragePooling3D(name="mean")(frames)
    logits = keras.layers.Dense(2, name="logits")(mean)
    network = keras.Model(frames, logits)
    network.get_layer("logits").set_weights([np.array(weights, np.float32), np.zeros(2, np.float32)])
    return network, Spec("linear", ("a", "b"), PROTOCOL)


def batch_of(colors, labels):
    """Clips of one frame of one pixel each."""
    frames = np.array(colors, np.uint8).reshape(-1, 1, 1, 1, 3)
    return Batch(frames, np.eye(2, dtype=np.float32)[labels], np.ones(len(labels), np.float32))


WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def weights_after(plan, batches, rate=0.5, start=((0, 0), (0, 0), (0, 0))):
    network, spec = linear(start)
    optimizer = build_optimizer(plan, network.trainable_variables)
    step = make_step(network, optimizer, spec, plan)
    losses = [step(batch, rate) for batch in batches]
    return network.get_layer("logits").get_weights(), losses


def test_one_step_of_sgd_by_hand():
    """At zero weights both classes have 1/2: the gradient is (1/2 - 1) · x for the label, x/2 for the other."""
    (kernel, bias), ((loss, hits),) = weights_after(Plan(optimizer="sgd", weight_decay=0), [batch_of([WHITE], [1])])
    assert loss == pytest.approx(np.log(2)) and hits == 0  # of equal logits the first class wins
    assert kernel == pytest.approx(np.array([[-0.25, 0.25]] * 3)) and bias == pytest.approx([-0.25, 0.25])


def test_l2_decay_is_of_kernels_alone():
    """A black clip has no gradient for the kernel: only 0.5 · 0.1 · w goes off it, and nothing off the bias for it."""
    plan = Plan(optimizer="sgd", weight_decay=0.1, momentum=0)
    (kernel, bias), _ = weights_after(plan, [batch_of([BLACK, BLACK], [0, 1])], start=((1, 2),) * 3)
    assert kernel == pytest.approx(np.array([[0.95, 1.9]] * 3)) and bias == pytest.approx([0, 0])


def test_adamw_takes_rate_times_decay_off_the_kernels():
    plan = Plan(optimizer="adamw", weight_decay=0.1)
    (kernel, bias), _ = weights_after(plan, [batch_of([BLACK, BLACK], [0, 1])], start=((1, 2),) * 3)
    assert kernel == pytest.approx(np.array([[0.95, 1.9]] * 3)) and bias == pytest.approx([0, 0])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_accumulated_steps_are_one_step_of_the_larger_batch(optimizer):
    one, other = batch_of([WHITE], [1]), batch_of([(255, 0, 0)], [0])
    both = Batch(*(np.concatenate(arrays) for arrays in zip(one, other, strict=True)))
    (apart, _), _ = weights_after(Plan(optimizer=optimizer, accumulate=2), [one, other, one, other])
    (together, _), _ = weights_after(Plan(optimizer=optimizer), [both, both])
    assert apart == pytest.approx(together, abs=1e-6)


def test_long_gradients_are_cut():
    """The gradient of the step by hand: eight values of 1/2, so its length is √2."""
    plan = Plan(optimizer="sgd", weight_decay=0, clip_norm=0.1)
    (kernel, _), _ = weights_after(plan, [batch_of([WHITE], [1])])
    assert kernel == pytest.approx(np.array([[-0.25, 0.25]] * 3) * 0.1 / np.sqrt(2))


def test_clips_weigh_as_they_are_told():
    batch = batch_of([WHITE, WHITE], [1, 0])._replace(weights=np.array([1.5, 0.5], np.float32))
    (_, bias), ((loss, _),) = weights_after(Plan(optimizer="sgd", weight_decay=0, momentum=0), [batch])
    assert loss == pytest.approx(np.log(2))  # (1.5 + 0.5) / 2 of it
    assert bias == pytest.approx([-0.125, 0.125])  # (1.5 - 0.5) / 2 · 1/2 · rate


def test_norms_and_biases_are_not_decayed():
    network = build_model("tiny2plus1d", 2)
    names = {variable.path.rpartition("/")[2] for variable in network.trainable_variables}
    assert names == {"kernel", "gamma", "beta", "bias"}
    assert {variable.path.rpartition("/")[2] for variable in decayed(network.trainable_variables)} == {"kernel"}


def test_a_frozen_backbone_and_its_averages_stay():
    network = build_model("tiny2plus1d", 2)
    set_frozen(network, True)
    before = [keras.ops.convert_to_numpy(variable) for variable in network.variables]
    plan = Plan(optimizer="sgd", weight_decay=0.1)
    step = make_step(network, build_optimizer(plan, network.trainable_variables), Spec("x", ("a", "b"), PROTOCOL), plan)
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 24, 32, 3), dtype=np.uint8)
    step(Batch(frames, np.eye(2, dtype=np.float32), np.ones(2, np.float32)), 0.1)
    changed = {
        variable.path
        for variable, value in zip(network.variables, before, strict=True)
        if not np.array_equal(keras.ops.convert_to_numpy(variable), value)
    }
    assert {path for path in changed if "seed" not in path} == {"logits/kernel", "logits/bias"}
    set_frozen(network, False)
    assert len(network.trainable_variables) > 2


@pytest.mark.skipif(on_jax(), reason="TensorFlow's strategy")
def test_a_mirrored_batch_gives_what_one_device_gives():
    """In a process of its own, because logical devices are made before TensorFlow starts."""
    import subprocess
    import sys
    from pathlib import Path

    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "mirrored_steps.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "equal"
