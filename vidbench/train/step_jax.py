"""One step of training on JAX, over all devices of all processes; the same numbers as on one device."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vidbench.data.train_loader import Batch
from vidbench.models.spec import Spec
from vidbench.train.plan import Plan, decayed


class JaxStep:
    """`step(batch, rate) -> (loss, hits)`; `batch` is what this process has of the global one.

    The function is compiled for the global batch, laid out over all devices: batch norms see all of it, and no clip
    is counted twice. Weights are kept whole on every device.
    """

    def __init__(self, network: keras.Model, optimizer: keras.Optimizer, spec: Spec, plan: Plan):
        self._network, self._optimizer, self._plan = network, optimizer, plan
        self._scale, self._shift = spec.scale_and_shift()
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        self._whole, self._shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
        self._run = jax.jit(self._step, out_shardings=self._whole)

    def __call__(self, batch: Batch, rate: float) -> tuple[float, float]:
        self._optimizer.learning_rate.assign(rate)
        groups = self._groups()
        state = [[self._on_every_device(variable.value) for variable in group] for group in groups]
        arrays = [jax.make_array_from_process_local_data(self._shared, array) for array in batch]
        state, loss, hits = self._run(state, *arrays)
        for group, values in zip(groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return float(loss), float(hits)

    def _groups(self):
        return self._network.trainable_variables, self._network.non_trainable_variables, self._optimizer.variables

    def _on_every_device(self, value):
        return value if value.sharding == self._whole else jax.device_put(np.asarray(value), self._whole)

    def _step(self, state, frames, labels, weights):
        trained, others, moments = state

        def loss_of(trained):
            pixels = frames.astype(jnp.float32) * self._scale + self._shift
            logits, changed = self._network.stateless_call(trained, others, pixels, training=True)
            logits = logits.astype(jnp.float32)
            losses = -(labels * jax.nn.log_softmax(logits)).sum(axis=1)
            return (weights * losses).mean(), (logits, changed)

        (loss, (logits, others)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        if self._plan.optimizer != "adamw" and self._plan.weight_decay:
            chosen = {id(variable) for variable in decayed(self._network.trainable_variables)}
            gradients = [
                gradient + self._plan.weight_decay * value if id(variable) in chosen else gradient
                for gradient, value, variable in zip(gradients, trained, self._network.trainable_variables, strict=True)
            ]
        trained, moments = self._optimizer.stateless_apply(moments, gradients, trained)
        hits = (logits.argmax(axis=1) == labels.argmax(axis=1)).sum()
        return [trained, others, moments], loss, hits
