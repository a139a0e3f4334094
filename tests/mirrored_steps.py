"""Run by test_train_plan: a few steps on two logical devices, and the same on one."""

import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from vidbench.data.train_loader import Batch  # noqa: E402
from vidbench.models import build_model  # noqa: E402
from vidbench.models.registry import find_architecture  # noqa: E402
from vidbench.train.network import set_sync_bn  # noqa: E402
from vidbench.train.plan import Plan, build_optimizer  # noqa: E402
from vidbench.train.step import make_step  # noqa: E402


def losses(strategy, plan):
    keras.utils.set_random_seed(0)
    spec = find_architecture("tiny2plus1d").spec(classes=("a", "b"))
    rng = np.random.default_rng(0)
    with strategy.scope():
        network = build_model("tiny2plus1d", 2)
        network.get_layer("dropout").rate = 0.0  # each device throws its own dice
        set_sync_bn(network.layers, True)
        optimizer = build_optimizer(plan, network.trainable_variables)
        step = make_step(network, optimizer, spec, plan, strategy)
    found = []
    for _ in range(3):
        frames = rng.integers(0, 256, (4, 4, 24, 32, 3), dtype=np.uint8)
        labels = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 4)]
        found.append(step(Batch(frames, labels, np.ones(4, np.float32)), 0.05))
    return np.array(found)


plan = Plan(optimizer="sgd", weight_decay=0.01)  # Adam would make much of the last bits of small gradients
one = losses(tf.distribute.OneDeviceStrategy("CPU:0"), plan)
two = losses(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), plan)
np.testing.assert_allclose(one, two, rtol=1e-4)
print("equal")
