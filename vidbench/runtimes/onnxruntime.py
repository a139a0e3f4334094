"""ONNX files on ONNX Runtime, on the CPU."""

from pathlib import Path

import numpy as np

from vidbench.machine import usable_cpus
from vidbench.utils import extra_module

OPSET = 17  # of ONNX; read by ONNX Runtime since 1.12 (2022)
ERRORS_ONLY = 3  # of ONNX Runtime's levels; below it warns of what its own optimiser could not do


class OnnxModel:
    """An ONNX file, opened. Raises UserError where ONNX Runtime is missing, its own errors for a damaged file.

    inputs, outputs: {name: (shape, dtype)}, None for an open size, dtypes as ONNX calls them: "float", "uint8"
    metadata: what the file says of itself, {key: text}
    """

    runtime = "onnxruntime"

    def __init__(self, path: Path):
        library = extra_module("onnxruntime", "export")
        options = library.SessionOptions()
        options.intra_op_num_threads = usable_cpus()  # its own choice is the host's number, not the container's
        options.log_severity_level = ERRORS_ONLY
        self._session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {tensor.name: _facts(tensor) for tensor in self._session.get_inputs()}
        self.outputs = {tensor.name: _facts(tensor) for tensor in self._session.get_outputs()}
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, name: str, frames: np.ndarray, output: str) -> np.ndarray:
        """The array `output` for the array `frames` at the input `name`."""
        return self._session.run([output], {name: frames})[0]


def onnx_model(function, signature: list):
    """A `tf.function` of `signature` (tf.TensorSpec) as an `onnx.ModelProto`. Raises UserError without tf2onnx."""
    model, _ = extra_module("tf2onnx", "export").convert.from_function(function, signature, opset=OPSET)
    return model


def _facts(tensor) -> tuple[tuple[int | None, ...] | None, str]:
    """("batch", 8, 3) and "tensor(float)" → (None, 8, 3) and "float"."""
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    return shape, tensor.type.removeprefix("tensor(").removesuffix(")")
