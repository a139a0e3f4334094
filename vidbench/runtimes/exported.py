"""A model file of another library as a runtime: pixels are scaled here where the file does not do it itself."""

import numpy as np


class FileRuntime:
    """`model` (an `OnnxModel` or `OpenVinoModel`) as (B, T, H, W, 3) uint8 → (B, classes) float32.

    name_in, dtype: the input and its NumPy dtype; pixels of a model that takes floats become pixel * scale + shift
    name_out: the output of logits
    precision: in which the file, as it was opened, calculates
    """

    def __init__(
        self,
        model,
        name_in: str,
        dtype: np.dtype,
        name_out: str,
        scale: np.ndarray,
        shift: np.ndarray,
        precision: str = "float32",
    ):
        self.name, self.precision = model.runtime, precision
        self._model, self._name_in, self._dtype, self._name_out = model, name_in, dtype, name_out
        self._scale, self._shift = scale, shift

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(B, T, H, W, 3) uint8 → (B, classes) float32. Raises ValueError where the model cannot take the frames."""
        if self._dtype != np.uint8:
            frames = (frames.astype(np.float32) * self._scale + self._shift).astype(self._dtype, copy=False)
        try:
            logits = self._model.run(self._name_in, frames, self._name_out)
        except Exception as problem:  # each library has errors of its own
            raise ValueError(str(problem)) from None
        return logits.astype(np.float32, copy=False)

    def gflop(self, shape: tuple[int, ...]) -> float:
        """nan: these files are not counted."""
        return float("nan")
