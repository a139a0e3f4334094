"""How a model is run, and on what. Knows nothing of models or data; `vidbench.models` stands on it.

A runtime is called with (B, T, H, W, 3) uint8 frames and gives (B, classes) float32 logits; it has a `name` and a
`precision`, and `gflop(shape)` counts the arithmetic of one call. Where it has `begin(frames)`, that gives an array
which need not be there yet.
"""

from vidbench.runtimes.devices import PRECISIONS, RUNTIMES, device_name, has_arithmetic, hide_gpus, on_jax, use_all_cpus
from vidbench.runtimes.tensorflow import TensorFlowRuntime

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "TensorFlowRuntime",
    "device_name",
    "has_arithmetic",
    "hide_gpus",
    "on_jax",
    "use_all_cpus",
]
