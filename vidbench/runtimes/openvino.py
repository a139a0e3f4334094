"""OpenVINO models on the CPU, in float32, bfloat16 or as their int8 file says."""

import io
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

    def __init__(self, path: Path, precision: str = "float32"):
        hints = {  # without the first it calculates in bfloat16 wherever the processor can
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": usable_cpus(),
        }
        self._model = openvino().Core().compile_model(str(path), "CPU", hints)
        self.inputs = {port.any_name: _facts(port) for port in self._model.inputs}
        self.outputs = {port.any_name: _facts(port) for port in self._model.outputs}
        self.metadata: dict[str, str] = {}

    def run(self, name: str, frames: np.ndarray, output: str) -> np.ndarray:
        """The array `output` for the array `frames` at the input `name`."""
        return np.array(self._model({name: frames})[output])


def openvino_model(onnx_model):
    """An `onnx.ModelProto` as an `openvino.Model`; its ends keep their names.

    TensorFlow's graphs come by way of ONNX: OpenVINO 2026.4's own reader turns a narrow SlowFast's padding the wrong
    way round, and reports each conversion over the network.
    """
    return openvino().Core().read_model(io.BytesIO(onnx_model.SerializeToString()))


def openvino() -> ModuleType:
    """The library, imported without its statistics. Raises UserError where it is missing."""
    return without_telemetry("openvino")


def without_telemetry(name: str) -> ModuleType:
    """OpenVINO or NNCF, imported without their statistics: else the import itself sends a report over the network.

    Both have a stub for where their telemetry package is not installed; it is hidden while they are imported.
    """
    if name in sys.modules or TELEMETRY in sys.modules:
        return extra_module(name, "openvino")
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        return extra_module(name, "openvino")
    finally:
        del sys.modules[TELEMETRY]


def _facts(port) -> tuple[tuple[int | None, ...] | None, str]:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return None, port.element_type.to_dtype().name
    return tuple(None if size.is_dynamic else size.get_length() for size in shape), port.element_type.to_dtype().name
