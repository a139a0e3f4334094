"""Copies and views of a Keras model for one way of running it: precision, and recurrent layers without a loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from vidbench.utils import UserError


def copy_of(network: keras.Model) -> keras.Model:
    """The same network with the same weights, never compiled: without an optimiser."""
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    return copy


def in_float32(network: keras.Model) -> keras.Model:
    """The same network, calculating in float32 throughout, in whichever precision it was built or trained."""
    for part in _parts(network):
        part.dtype_policy = "float32"
    return network


def in_bfloat16(network: keras.Model) -> keras.Model:
    """A copy that calculates in bfloat16, but for layers called `logits…` and all from the last with a kernel on."""
    mixed = copy_of(network)
    multiplying = [
        number for number, layer in enumerate(mixed.layers) if any(hasattr(part, "kernel") for part in _parts(layer))
    ]
    if not multiplying:
        raise UserError("this model cannot run in bfloat16: none of its layers multiplies; use float32")
    for layer in mixed.layers[: multiplying[-1]]:
        if not layer.name.startswith("logits"):
            for part in _parts(layer):
                part.dtype_policy = "mixed_bfloat16"
    return mixed


def keep_short_kernels(network: keras.Model, shape: tuple[int, ...]) -> list[str]:
    """Let 3D convolutions whose kernels are longer than their input calculate in float32; returns their names.

    shape: (T, H, W, 3) of the clips. In bfloat16 TensorFlow 2.21 leaves rubbish in the gradients of such kernels on
    CPUs (oneDNN), 3 frames long over 2 frames for instance, which is what ResNets have in their last stage.
    """
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv3D)]
    if not layers:
        return []
    inputs = keras.Model(network.inputs, [layer.input for layer in layers]).compute_output_shape((1, *shape))
    short = [
        layer
        for layer, seen in zip(layers, inputs, strict=True)
        if any(kernel > size for kernel, size in zip(layer.kernel_size, seen[1:4], strict=True))
    ]
    for layer in short:
        layer.dtype_policy = "float32"
    return [layer.name for layer in short]


@contextmanager
def unrolled(network: keras.Model | None) -> Iterator[None]:
    """Recurrent layers trace one step after the other meanwhile: a loop can be neither counted nor rewritten."""
    looped = [part for part in _parts(network) if getattr(part, "unroll", None) is False]
    for part in looped:
        part.unroll = True
    try:
        yield
    finally:
        for part in looped:
            part.unroll = False


def _parts(layer: keras.Layer | None) -> list[keras.Layer]:
    """A layer and the layers in it, cells of recurrent ones too; Keras has no public way to them."""
    return [] if layer is None else list(layer._flatten_layers())
