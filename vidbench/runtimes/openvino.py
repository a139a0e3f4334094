"""OpenVINO models on the CPU, in float32."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from vidbench.machine import usable_cpus
from vidbench.utils import extra_module

TELEMETRY = "openvino_telemetry"


class OpenVinoModel:
    """A `.xml` with its `.bin`, opened. Raises UserError where OpenVINO is missing, its own errors for damaged files.

    inputs, outputs: {name: (shape, dtype)}, None for an open size, dtypes as NumPy calls them
    metadata: {}, for these files say nothing of themselves
    """

    runtime = "openvino"

    def __init__(self, path: Path):
        hints = {
            "INFERENCE_PRECISION_HINT": "f32",  # else it calculates in bfloat16 wherever the processor can
            "INFERENCE_NUM_THREADS": usable_cpus(),
        }
        self._model = openvino().Core().compile_model(str(path), "CPU", hints)
        self.inputs = {port.any_name: _facts(port) for port in self._model.inputs}
        self.outputs = {port.any_name: _facts(port) for port in self._model.outputs}
        self.metadata: dict[str, str] = {}

    def run(self, name: str, frames: np.ndarray, output: str) -> np.ndarray:
        """The array `output` for the array `frames` at the input `name`."""
        return np.array(self._model({name: frames})[output])


def openvino() -> ModuleType:
    """The library, imported without its statistics: else the import itself sends a report over the network.

    OpenVINO has a stub for where its telemetry package is not installed; it is hidden while OpenVINO is imported.
    """
    if "openvino" in sys.modules or TELEMETRY in sys.modules:
        return extra_module("openvino", "openvino")
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        return extra_module("openvino", "openvino")
    finally:
        del sys.modules[TELEMETRY]


def _facts(port) -> tuple[tuple[int | None, ...] | None, str]:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return None, port.element_type.to_dtype().name
    return tuple(None if size.is_dynamic else size.get_length() for size in shape), port.element_type.to_dtype().name
