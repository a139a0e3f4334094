"""A classifier: pixels in, logits out, with the contract that says which pixels."""

from collections import deque
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from vidbench.models.spec import Spec
from vidbench.models.weights import first_line
from vidbench.runtimes import TensorFlowRuntime, device_name, on_jax
from vidbench.runtimes.precision import unrolled
from vidbench.utils import UserError

GPU_CLIPS = 8  # clips that a GPU is given at once; a CPU is as fast, or faster, with one
GPU_IN_FLIGHT = 2  # groups of clips that it has while another is being put together


class Classifier:
    """`classifier(frames)`: (B, T, H, W, 3) uint8 RGB → (B, classes) float32 logits, whatever B.

    Scaling and normalising happen inside the graph. Clips run a constant number at a time, one on a CPU: memory
    does not grow with the batch, and a clip's logits are the same bits in any batch and at any place in it.

    spec: the contract; `classifier.spec = classifier.spec.with_protocol(…)` changes which frames are wanted
    network: the Keras model, None for a model of another kind
    precision: "float32", "bfloat16" or "int8"
    runtime: what runs it: "tensorflow", "jax", "onnxruntime" or "openvino"
    conversion: of a model that was converted, how it agrees with TensorFlow (`vidbench.convert`), else {}
    weights_sha256: of the weights file (or folder, or checkpoint), None where there is none
    """

    def __init__(
        self,
        spec: Spec,
        runtime: Callable,
        shape: tuple[int | None, ...] = (None, None, None, None, 3),
        num_logits: int | None = None,
        network: keras.Model | None = None,
        weights_sha256: str | None = None,
    ):
        """`runtime` takes (B, T, H, W, 3) uint8 to (B, classes) float32 logits, see `vidbench.runtimes`.

        `shape` has None where any size goes, `num_logits` is None where it is not known before the first call.
        Raises UserError when it is not the number of classes.
        """
        self.spec, self.network, self.weights_sha256 = spec, network, weights_sha256
        self.conversion: dict = {}
        self._shape, self._runtime = shape, runtime
        self.runtime, self.precision = runtime.name, runtime.precision
        self._fixed_batch = shape[0]
        self.clips_at_once = 1
        self.set_batch_size(GPU_CLIPS)
        if num_logits is not None:
            self._check_classes(num_logits)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(B, T, H, W, 3) uint8 → (B, classes) float32 logits. Raises UserError for frames that do not fit."""
        return self.start(frames)()

    def start(self, frames: np.ndarray) -> Callable[[], np.ndarray]:
        """Begin what a call does, and return what waits for its logits: a GPU under JAX calculates meanwhile.

        At most `in_flight` groups of `clips_at_once` clips are on the device and not waited for; on a CPU, none.
        Raises UserError for frames that do not fit, here or at the wait.
        """
        frames = np.asarray(frames)
        if frames.ndim != 5 or frames.dtype != np.uint8 or frames.shape[-1] != 3:
            raise UserError(f"{self.spec.name} takes (B, T, H, W, 3) uint8 frames, got {frames.shape} {frames.dtype}")
        self.check_view(frames.shape[1], frames.shape[2:4])
        done, begun = [np.empty((0, len(self.spec.classes)), np.float32)], deque()
        for first in range(0, len(frames), self.clips_at_once):
            begun.append(self._begin(frames[first : first + self.clips_at_once]))
            if len(begun) > self.in_flight:
                done.append(begun.popleft()())
        return lambda: np.concatenate([*done, *(wait() for wait in begun)])

    def set_batch_size(self, clips: int) -> None:
        """How many clips a GPU is given at once. A CPU takes them one by one, a model of one batch size takes that."""
        on_cpu = device_name() == "CPU"
        self.clips_at_once = self._fixed_batch or (1 if on_cpu else clips)
        self.in_flight = 0 if on_cpu else GPU_IN_FLIGHT

    def __repr__(self):
        return f"Classifier({self.spec.name!r}, {len(self.spec.classes)} classes, {self.precision}, {self.runtime})"

    def check_view(self, num_frames: int, size: tuple[int, int]) -> None:
        """Raise UserError unless views of `num_frames` frames of `size` (height, width) can be classified."""
        self.spec.check_frames(num_frames)
        wanted, got = self._shape[1:4], (num_frames, *size)
        if any(w is not None and w != g for w, g in zip(wanted, got, strict=True)):
            wanted = " × ".join("any" if w is None else str(w) for w in wanted)
            raise UserError(
                f"{self.spec.name} takes frames × height × width of {wanted}, got {' × '.join(map(str, got))}"
            )

    def gflop(self, num_frames: int, size: tuple[int, int]) -> float:
        """2 × multiply-adds of one view, in 10⁹: convolutions and matrix products, as they stand in the graph."""
        with unrolled(self.network):
            return self._runtime.gflop((self._shape[0] or 1, num_frames, *size, 3)) / (self._shape[0] or 1)

    def traced(self, num_frames: int, size: tuple[int, int]):
        """The TensorFlow function (1, num_frames, *size, 3) uint8 → (1, classes) float32, without loops."""
        with unrolled(self.network):
            return self._runtime.traced((1, num_frames, *size, 3))

    def _begin(self, frames: np.ndarray) -> Callable[[], np.ndarray]:
        """Start at most `clips_at_once` clips; a short last group is filled up, so that all have one shape."""
        missing = self.clips_at_once - len(frames)
        if missing:
            frames = np.concatenate([frames, np.zeros((missing, *frames.shape[1:]), np.uint8)])
        view = f"{frames.shape[1]} frames of {frames.shape[2]} × {frames.shape[3]}"
        try:
            begun = getattr(self._runtime, "begin", self._runtime)(frames)
        except UserError:
            raise
        except (ValueError, tf.errors.InvalidArgumentError) as problem:  # from tracing, from running
            raise UserError(f"{self.spec.name} cannot take {view}: {first_line(problem)}") from None

        def wait() -> np.ndarray:
            logits = np.asarray(begun)[: self.clips_at_once - missing]
            self._check_classes(logits.shape[-1])
            if not np.isfinite(logits).all():
                raise UserError(f"{self.spec.name} gave no numbers for {view}: too short or too small for its pooling?")
            return logits

        return wait

    def _check_classes(self, num_logits: int) -> None:
        if num_logits != len(self.spec.classes):
            raise UserError(f"{self.spec.name} has {len(self.spec.classes)} classes but gives {num_logits} logits")


def network_classifier(network: keras.Model, spec: Spec, precision="float32", weights_sha256=None) -> Classifier:
    """A Keras network, normalised (B, T, H, W, 3) float32 → logits, as a classifier of pixels.

    It runs on Keras's backend. Raises UserError unless the network has one such input and one such output, for a
    precision that cannot be had, and for another backend than TensorFlow and JAX.
    """
    inputs, outputs = ([tuple(tensor.shape) for tensor in tensors] for tensors in (network.inputs, network.outputs))
    if [len(shape) for shape in inputs + outputs] != [5, 2] or inputs[0][-1] != 3:
        raise UserError(f"{spec.name} must take one (B, T, H, W, 3) to (B, classes), not {inputs} to {outputs}")
    runtime = _runtime_of(network, *spec.scale_and_shift(), precision)
    return Classifier(spec, runtime, inputs[0], outputs[0][-1], network, weights_sha256)


def _runtime_of(network: keras.Model, scale: np.ndarray, shift: np.ndarray, precision: str):
    if on_jax():
        from vidbench.runtimes.jax import JaxRuntime  # an extra, there only where it is asked for

        return JaxRuntime(network, scale, shift, precision)
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"classifiers run on tensorflow and jax, KERAS_BACKEND is {keras.backend.backend()}")

    def logits(frames):
        pixels = tf.cast(frames, tf.float32) * scale + shift
        with unrolled(network if precision == "bfloat16" else None):  # that is a rewrite of the graph
            return tf.cast(network(pixels, training=False), tf.float32)

    return TensorFlowRuntime(logits, precision)


def gflop(model: Classifier | keras.Model, num_frames: int, size: tuple[int, int]) -> float:
    """2 × multiply-adds of one view of `num_frames` frames of `size` (height, width), in 10⁹.

    Counts convolutions and matrix products. Papers call the half of it "FLOPs". nan where it cannot be known.
    """
    if isinstance(model, Classifier):
        return model.gflop(num_frames, size)
    runtime = _runtime_of(model, np.ones(3, np.float32), np.zeros(3, np.float32), "float32")
    with unrolled(model):
        return runtime.gflop((1, num_frames, *size, 3))
