"""One step of training: pixels and labels in, loss out, the weights changed. On TensorFlow; on JAX see `step_jax`."""

import keras
import tensorflow as tf

from vidbench.data.train_loader import Batch
from vidbench.models.spec import Spec
from vidbench.runtimes import on_jax
from vidbench.train.plan import Plan, decayed


class TensorFlowStep:
    """`step(batch, rate) -> (loss, hits)`, of a network and an optimiser that were built in `strategy`'s scope.

    loss: the mean cross-entropy of the batch's clips, weighted; hits: how many are classified as labelled
    A batch is shared out among the strategy's devices, each of which takes `global batch / replicas` clips.
    """

    def __init__(self, network: keras.Model, optimizer: keras.Optimizer, spec: Spec, plan: Plan, strategy=None):
        self._network, self._optimizer, self._plan = network, optimizer, plan
        self._scale, self._shift = spec.scale_and_shift()
        self._strategy = strategy or tf.distribute.get_strategy()
        self._run = tf.function(self._on_all_devices, autograph=False)

    def __call__(self, batch: Batch, rate: float) -> tuple[float, float]:
        self._optimizer.learning_rate.assign(rate)
        replicas = self._strategy.num_replicas_in_sync
        parts = [tuple(tf.constant(array[i::replicas]) for array in batch) for i in range(replicas)]
        if replicas > 1:
            shared = self._strategy.experimental_distribute_values_from_function(
                lambda context: parts[context.replica_id_in_sync_group]
            )
        else:
            (shared,) = parts
        loss, hits = self._run(shared)
        return float(loss), float(hits)

    def _on_all_devices(self, shared):
        results = self._strategy.run(self._on_one_device, args=(shared,))
        return [self._strategy.reduce(tf.distribute.ReduceOp.SUM, result, axis=None) for result in results]

    def _on_one_device(self, part):
        frames, labels, weights = part
        replicas, variables = self._strategy.num_replicas_in_sync, self._network.trainable_variables
        with tf.GradientTape() as tape:
            pixels = tf.cast(frames, tf.float32) * self._scale + self._shift
            logits = tf.cast(self._network(pixels, training=True), tf.float32)
            losses = weights * tf.nn.softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses) / replicas  # the replicas' gradients are added up
        gradients = tape.gradient(loss, variables)
        if self._plan.optimizer != "adamw" and self._plan.weight_decay:
            share = self._plan.weight_decay / replicas
            chosen = {id(variable) for variable in decayed(variables)}
            gradients = [
                gradient + share * variable.value if id(variable) in chosen else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        self._optimizer.apply(gradients, variables)
        hits = tf.argmax(logits, axis=1) == tf.argmax(labels, axis=1)
        return loss, tf.reduce_sum(tf.cast(hits, tf.float32))


def make_step(network: keras.Model, optimizer: keras.Optimizer, spec: Spec, plan: Plan, strategy=None):
    """The step of Keras's backend."""
    if on_jax():
        from vidbench.train.step_jax import JaxStep  # an extra, there only where it is asked for

        return JaxStep(network, optimizer, spec, plan)
    return TensorFlowStep(network, optimizer, spec, plan, strategy)
