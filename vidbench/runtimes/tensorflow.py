"""A model as one traced TensorFlow function, in float32 or bfloat16."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.python.grappler import tf_optimizer  # no public way to rewrite one graph and no other

from vidbench.machine import stderr_held
from vidbench.runtimes.devices import check_precision, warn_without_gain
from vidbench.utils import UserError

KEPT_SHAPES = 4
PRODUCTS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")  # where the arithmetic is


class TensorFlowRuntime:
    """`function`, (B, T, H, W, 3) uint8 tensor → (B, classes) float32 tensor, traced anew for each shape it meets.

    Shapes are traced whole because some layers are wrong with an open one (Keras's TimeDistributed takes the batch
    for the time). bfloat16 covers all but the last convolution or matrix product and what follows it, so that
    logits keep float32's steps. Variables stay variables: freezing them gained 4 % on I3D and cost 1 GB.

    Raises UserError for a precision that is unknown or that cannot be had here.
    """

    name = "tensorflow"

    def __init__(self, function: Callable, precision: str = "float32"):
        check_precision(precision)
        warn_without_gain(precision)
        if precision == "bfloat16" and tf.config.get_visible_devices("GPU"):
            raise UserError("precision bfloat16 is for CPUs here; on a GPU use float32, or JAX (KERAS_BACKEND=jax)")
        self.precision = precision
        self._function = function
        self._traced = {}

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(B, T, H, W, 3) uint8 → (B, classes) float32. Raises ValueError or TensorFlow's errors where it cannot."""
        if frames.shape not in self._traced:
            if len(self._traced) == KEPT_SHAPES:
                del self._traced[next(iter(self._traced))]
            traced = trace(self._function, frames.shape)
            self._traced[frames.shape] = traced if self.precision == "float32" else bfloat16_function(traced)
        return self._traced[frames.shape](tf.constant(frames)).numpy()

    def gflop(self, shape: tuple[int, ...]) -> float:
        """Arithmetic of one call with frames of `shape`, in 10⁹ operations, see `count_gflop`."""
        return count_gflop(self.traced(shape))

    def traced(self, shape: tuple[int, ...]):
        """The function for frames of `shape`, in float32, for converters."""
        return trace(self._function, shape)


def trace(function: Callable, shape: tuple[int, ...], dtype=tf.uint8):
    """`function` of one tensor of `shape` as a TensorFlow function without Python."""
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape, dtype, "frames"))


def bfloat16_function(traced):
    """The same traced function with its convolutions and matrix products, all but the last, in bfloat16."""
    ends = _ends(traced)
    inlined = _rewrite(traced.graph.as_graph_def(), ends, "function")
    kept = _head(inlined, traced.outputs[0].op.name)
    mixed = _rewrite(inlined, [*ends, *sorted(kept)], "auto_mixed_precision_onednn_bfloat16")
    if not any(node.op in PRODUCTS and node.attr["T"].type == tf.bfloat16.as_datatype_enum for node in mixed.node):
        raise UserError("TensorFlow cannot run this model in bfloat16 on this machine; use float32")
    return _as_function(mixed, traced)


def count_gflop(traced) -> float:
    """2 × multiply-adds of the convolutions and matrix products of a traced function, in 10⁹.

    What stands in a loop is left out; nan where a shape is open.
    """
    graph_def = traced.graph.as_graph_def()
    for entry in (*graph_def.node, *graph_def.library.function):
        for mark in ("_XlaMustCompile", "_noinline"):  # of grouped convolutions, which would stay hidden in a call
            entry.attr.pop(mark, None)
    inlined = _as_function(_rewrite(graph_def, _ends(traced), "function"), traced)
    total = 0
    for operation in inlined.graph.get_operations():
        if operation.type in PRODUCTS:
            output, factor = operation.outputs[0].shape, operation.inputs[1].shape
            if not (output.is_fully_defined() and factor.is_fully_defined()):
                return float("nan")
            total += output.num_elements() * _products_an_output(operation, factor)
    return 2 * total / 1e9


def _products_an_output(operation: tf.Operation, factor: tf.TensorShape) -> int:
    """How many products are summed into one element of the output."""
    if operation.type.startswith("Conv"):  # (…, in, out)
        return factor.num_elements() // factor[-1]
    if operation.type == "DepthwiseConv2dNative":  # (height, width, in, multiplier)
        return factor[0] * factor[1]
    flag = "transpose_b" if operation.type == "MatMul" else "adj_y"
    return factor[-1] if operation.get_attr(flag) else factor[-2]


def _ends(traced) -> list[str]:
    """The nodes that a rewrite must leave in place: the frames, the variables, the logits."""
    return [tensor.name for tensor in traced.inputs + traced.outputs]


def _rewrite(graph_def, kept: Iterable[str], optimizer: str):
    """`graph_def` after one of TensorFlow's graph optimizers; nodes named in `kept` stay as they are."""
    meta, config = MetaGraphDef(graph_def=graph_def), ConfigProto()
    meta.collection_def["train_op"].node_list.value.extend(kept)
    rewrite = config.graph_options.rewrite_options
    rewrite.min_graph_nodes = -1  # small graphs too
    rewrite.optimizers.append(optimizer)
    with stderr_held():  # it tells how many GPUs there are not
        return tf_optimizer.OptimizeGraph(config, meta)


def _as_function(graph_def, traced):
    """A rewritten graph of `traced` as a function over the same variables."""
    frames, logits = traced.inputs[0], traced.outputs[0]

    def run(pixels):
        graph = tf.compat.v1.get_default_graph()
        inputs = {inner.name: graph.capture(outer) for outer, inner in traced.graph.captures}
        inputs[frames.name] = pixels
        return tf.graph_util.import_graph_def(graph_def, inputs, [logits.name], name="")[0]

    return trace(run, frames.shape, frames.dtype)


def _head(graph_def, output: str) -> set[str]:
    """The nodes from the last convolution or matrix product to the output."""
    nodes = {node.name: node for node in graph_def.node}
    found, waiting = set(), [output]
    while waiting:
        node = nodes[waiting.pop()]
        if node.name not in found:
            found.add(node.name)
            if node.op not in PRODUCTS:
                waiting += [name.split(":")[0] for name in node.input if not name.startswith("^")]
    return found
