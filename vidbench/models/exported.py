"""ONNX files and OpenVINO models as classifiers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidbench.data.protocol import Protocol
from vidbench.models.classifier import Classifier
from vidbench.models.files import fitting
from vidbench.models.savedmodel import logits_output, video_input
from vidbench.models.spec import Spec, read_spec, weights_digest
from vidbench.models.weights import first_line
from vidbench.runtimes.exported import FileRuntime
from vidbench.runtimes.onnxruntime import OnnxModel
from vidbench.runtimes.openvino import OpenVinoModel
from vidbench.utils import UserError

OPENVINO_FILE = "model.xml"  # in a folder


def is_exported(path: Path) -> bool:
    """Whether a path names an ONNX file or an OpenVINO model: a `.xml`, or a folder with `model.xml`."""
    return path.suffix in (".onnx", ".xml") or (path / OPENVINO_FILE).is_file()


def load_exported(
    path: Path,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """A path of `is_exported` with its spec, or with the class names given, as a classifier; see `load_model`.

    The spec is `X.json` beside `X.onnx` or `X.xml`; an ONNX file may hold it itself, in its metadata.

    Raises UserError for a missing or damaged file or library, where neither a spec nor names are there, for a model
    with other than one input (B, T, H, W, 3) and one output (B, classes), and for another precision than float32.
    """
    path = path / OPENVINO_FILE if path.is_dir() else path
    if missing := [file for file in _files(path) if not file.is_file()]:
        raise UserError(f"there is no model file {missing[0]}")
    if precision != "float32":
        raise UserError(f"{path} runs in float32: a precision is chosen for .keras files and SavedModels")
    model = _opened(path)
    name_in, pixels = video_input(path, _tensor_specs(path, model.inputs))
    name_out = logits_output(path, outputs := _tensor_specs(path, model.outputs))
    shape = (None,) * 5 if pixels.shape.rank is None else tuple(pixels.shape)
    spec = _spec(path, model.metadata, classes, shape)
    if value_range is not None and pixels.dtype == tf.uint8:
        raise UserError(f"{path} takes uint8 pixels and scales them itself: it has no value range to set")
    spec = spec.adapted(classes, value_range)
    dtype = np.dtype(pixels.dtype.as_numpy_dtype)
    runtime = FileRuntime(model, name_in, dtype, name_out, *spec.scale_and_shift())
    given = outputs[name_out].shape
    return Classifier(
        spec,
        runtime,
        (*shape[:4], 3),
        num_logits=None if given.rank is None else given[-1],
        weights_sha256=weights_digest(path),
    )


def _files(path: Path) -> list[Path]:
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def _opened(path: Path) -> OnnxModel | OpenVinoModel:
    kind, title = (OnnxModel, "an ONNX") if path.suffix == ".onnx" else (OpenVinoModel, "an OpenVINO")
    try:
        return kind(path)
    except UserError:
        raise
    except Exception as problem:  # whatever the library meets in a damaged file
        raise UserError(f"{path} cannot be read as {title} model: {first_line(problem)}") from None


def _tensor_specs(path: Path, tensors: dict[str, tuple]) -> dict[str, tf.TensorSpec]:
    try:
        return {name: tf.TensorSpec(shape, tf.as_dtype(dtype), name) for name, (shape, dtype) in tensors.items()}
    except TypeError:  # a sequence, a map, a number of four bits
        listed = ", ".join(f"{name} {dtype}" for name, (_, dtype) in tensors.items())
        raise UserError(f"{path} must take frames and give logits; it has {listed}") from None


def _spec(path: Path, metadata: dict[str, str], classes: Sequence[str] | None, shape: tuple) -> Spec:
    """The contract beside the file, else in it, else one of the class names and the sizes that the model insists on."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read_spec(beside, path)
    if "spec" in metadata:
        try:
            return Spec.from_dict(json.loads(metadata["spec"]))
        except (ValueError, KeyError, TypeError) as problem:
            raise UserError(f"the spec in the metadata of {path} cannot be read: {problem}") from None
    if classes is None:
        raise UserError(
            f"{path} has no {beside.name} beside it, which names its classes (evaluate.py and predict.py take them "
            "from --model-classes FILE, one a line in the order of its outputs)"
        )
    return Spec(path.stem, tuple(classes), fitting(Protocol(), shape))
