"""How a model is run, and on what. Knows nothing of models or data; `vidbench.models` stands on it.

A runtime is called with (B, T, H, W, 3) uint8 frames and gives (B, classes) float32 logits; it has a `name` and a
`precision`, and `gflop(shape)` counts the arithmetic of one call.
"""

from vidbench.runtimes.devices import PRECISIONS, device_name, has_bfloat16, hide_gpus, on_jax, use_all_cpus
from vidbench.runtimes.tensorflow import TensorFlowRuntime

__all__ = ["PRECISIONS", "TensorFlowRuntime", "device_name", "has_bfloat16", "hide_gpus", "on_jax", "use_all_cpus"]
