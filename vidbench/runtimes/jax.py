"""A Keras model under JAX's compiler, in float32 or mixed bfloat16."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.extend.core import jaxprs_in_params

from vidbench.runtimes.devices import check_precision, warn_without_gain
from vidbench.runtimes.precision import in_bfloat16

PRODUCTS = ("conv_general_dilated", "dot_general")  # where the arithmetic is


class JaxRuntime:
    """A Keras network whose input is pixel * scale + shift, compiled anew for each shape it meets.

    bfloat16 covers what `in_bfloat16` says; variables stay float32.
    Raises UserError for a precision that is unknown or that cannot be had here.
    """

    name = "jax"

    def __init__(self, network: keras.Model, scale: np.ndarray, shift: np.ndarray, precision: str = "float32"):
        check_precision(precision, self.name)
        warn_without_gain(precision, self.name)
        self.precision = precision
        self._network = in_bfloat16(network) if precision == "bfloat16" else network
        self._scale, self._shift = scale, shift
        self._compiled = jax.jit(self._logits)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(B, T, H, W, 3) uint8 → (B, classes) float32. Raises ValueError where the network cannot take the frames."""
        return np.asarray(self.begin(frames))

    def begin(self, frames: np.ndarray) -> jax.Array:
        """As a call, but the logits need not be there yet: `np.asarray` waits for them. The frames go as bytes."""
        try:
            return self._compiled(self._values(), frames)
        except TypeError as problem:  # JAX's word for shapes that do not fit
            raise ValueError(str(problem)) from None

    def gflop(self, shape: tuple[int, ...]) -> float:
        """2 × multiply-adds of one call with frames of `shape`, in 10⁹; what stands in a loop is counted once."""
        traced = jax.make_jaxpr(self._logits)(self._values(), jax.ShapeDtypeStruct(shape, np.uint8))
        return 2 * sum(map(_products, _operations(traced.jaxpr))) / 1e9

    def _values(self):
        variables = self._network.trainable_variables, self._network.non_trainable_variables
        return tuple([_here(variable.value) for variable in group] for group in variables)

    def _logits(self, values, frames):
        pixels = jnp.asarray(frames, jnp.float32) * self._scale + self._shift
        logits, _ = self._network.stateless_call(*values, pixels, training=False)
        return jnp.asarray(logits, jnp.float32)


def _here(value):
    """One device's copy of a variable that training keeps on every device: this process may run alone."""
    return value if len(value.sharding.device_set) == 1 else value.addressable_data(0)


def _operations(jaxpr):
    """The operations of a traced function and of every function that it calls."""
    for operation in jaxpr.eqns:
        yield operation
        for inner in jaxprs_in_params(operation.params):
            yield from _operations(inner)


def _products(operation) -> int:
    """How many products one operation sums into its outputs."""
    if operation.primitive.name not in PRODUCTS:
        return 0
    outputs, factor = operation.outvars[0].aval.size, operation.invars[1].aval
    if operation.primitive.name == "conv_general_dilated":
        return outputs * factor.size // factor.shape[operation.params["dimension_numbers"].rhs_spec[0]]
    (contracted, _), _ = operation.params["dimension_numbers"]
    return outputs * int(np.prod([operation.invars[0].aval.shape[axis] for axis in contracted]))
