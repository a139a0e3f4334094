"""A TensorFlow classifier for another runtime, in float32, bfloat16 or int8: converted once, checked, kept.

A conversion is known by what went into it: the weights, the size of a view, the runtime and the precision, the
calibration clips, the libraries' versions. `folder/<key>/` holds the model and `conversion.json`, which says how it
agreed with TensorFlow, and on which processor.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidbench.machine import cpu_name, stderr_held
from vidbench.models import Classifier
from vidbench.models.weights import first_line
from vidbench.runtimes.devices import RUNTIMES, check_precision
from vidbench.runtimes.exported import FileRuntime
from vidbench.runtimes.onnxruntime import OnnxModel, onnx_model
from vidbench.runtimes.openvino import OpenVinoModel, openvino, openvino_model
from vidbench.runtimes.quantization import quantize
from vidbench.utils import UserError, extra_module, unknown, written_whole

FORMAT = 1  # of a conversion's folder
LARGEST_ERROR = {"float32": 1e-3, "bfloat16": 0.05, "int8": 0.25}  # of the logits' spread; above it is refused
FILES = {"openvino": "model.xml", "onnxruntime": "model.onnx"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Clips that int8 takes its ranges from: `clips()` is (N, T, H, W, 3) uint8, `key` stands for which they are."""

    title: str  # in words: "32 clips of demo train"
    key: str
    clips: Callable[[], np.ndarray]


def convert(
    model: Classifier,
    runtime: str,
    precision: str,
    folder: Path,
    clips: Callable[[], np.ndarray],
    calibration: Calibration | None = None,
) -> Classifier:
    """`model`, a TensorFlow classifier in float32, on another runtime, for views of its protocol's size.

    runtime, precision: of `RUNTIMES`; folder: where conversions are kept
    clips: gives (N, T, H, W, 3) uint8, real ones; called once a conversion and processor, for the check
    calibration: for int8; its clips must not be among those that are scored

    The logits of `clips` are compared with TensorFlow's before the conversion is used: `conversion` of the classifier
    says how far they are off, as a fraction of their spread, and how often the likeliest class is the same. Where a
    logit is off by more than LARGEST_ERROR it is refused.

    Raises UserError for that, for a missing library, a precision that the runtime has not, a model that cannot be
    converted or is not TensorFlow's, and int8 without calibration.
    """
    if runtime not in FILES:
        raise unknown("runtime to convert to", runtime, FILES)
    check_precision(precision, runtime)
    calibration = calibration if precision == "int8" else None
    if model.runtime != "tensorflow" or model.precision != "float32":
        raise UserError(f"{model.spec.name} runs on {model.runtime} in {model.precision}: only TensorFlow is converted")
    if precision == "int8" and calibration is None:
        raise UserError("int8 needs clips to calibrate with, other ones than are scored: --calibration-dir DIR")
    if runtime == "openvino":
        openvino()  # that a library is missing is known before minutes of converting
    else:
        extra_module(runtime, "export")
    place = folder / _key(model, runtime, precision, calibration)
    if not (place / FILES[runtime]).is_file():
        log.info("converting %s for %s in %s", model.spec.name, runtime, precision)
        _make(model, runtime, precision, place, calibration)
    converted = _opened(model, runtime, precision, place)
    converted.conversion = _agreement(model, converted, place, clips) | {
        "calibration": calibration.title if calibration else None,
        "calibration_key": calibration.key if calibration else None,
    }
    return converted


def _key(model: Classifier, runtime: str, precision: str, calibration: Calibration | None) -> str:
    """32 hex digits that change with everything that changes the converted model."""
    spec, libraries = model.spec, ["tensorflow", "tf2onnx", runtime, *(["nncf"] if precision == "int8" else [])]
    facts = {
        "format": FORMAT,
        "weights": [spec.name, model.weights_sha256 or _digest(model)],
        "pixels": [array.tolist() for array in spec.scale_and_shift()],
        "view": [spec.protocol.num_frames, *spec.protocol.frame_size],
        "to": [runtime, "int8" if precision == "int8" else "float32"],  # bfloat16 is a way of running float32's file
        "calibration": calibration.key if calibration else None,
        "libraries": [importlib.metadata.version(name) for name in libraries],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _digest(model: Classifier) -> str:
    """64 hex digits for weights that no file holds."""
    if model.network is None:
        raise UserError(f"{model.spec.name} is no file and has no network: it cannot be converted")
    total = hashlib.sha256(model.network.name.encode())
    for array in model.network.get_weights():
        total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return total.hexdigest()


def _make(model: Classifier, runtime: str, precision: str, place: Path, calibration: Calibration | None) -> None:
    """Write the converted model to `place`, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    traced = model.traced(model.spec.protocol.num_frames, model.spec.protocol.frame_size)
    signature = [tf.TensorSpec(traced.inputs[0].shape, tf.uint8, "frames")]
    function = tf.function(lambda frames: {"logits": traced(frames)}, signature, autograph=False)
    clips = calibration.clips() if calibration else None
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".converting-") as aside:
        made = Path(aside) / "made"
        made.mkdir()
        try:
            with stderr_held():
                WRITERS[runtime](made / FILES[runtime], onnx_model(function, signature), clips)
        except UserError:
            raise
        except Exception as problem:  # whatever a converter meets in a model that it does not know
            raise UserError(f"{model.spec.name} cannot be converted for {runtime}: {first_line(problem)}") from problem
        with contextlib.suppress(OSError):  # another process was faster: its folder is as good
            made.rename(place)


def _write_openvino(path: Path, model, clips: np.ndarray | None) -> None:
    model = openvino_model(model)
    openvino().save_model(model if clips is None else quantize(model, clips), path, compress_to_fp16=False)


def _write_onnx(path: Path, model, clips: np.ndarray | None) -> None:
    extra_module("onnx", "export").save(model if clips is None else quantize(model, clips), path)


WRITERS = {"openvino": _write_openvino, "onnxruntime": _write_onnx}


def _opened(model: Classifier, runtime: str, precision: str, place: Path) -> Classifier:
    path = place / FILES[runtime]
    try:
        opened = OpenVinoModel(path, precision) if runtime == "openvino" else OnnxModel(path)
    except Exception as problem:  # whatever the library meets in a damaged file
        raise UserError(f"{path} cannot be read, remove its folder: {first_line(problem)}") from None
    (name_in,), (name_out,) = opened.inputs, opened.outputs
    scale, shift = model.spec.scale_and_shift()
    on_file = FileRuntime(opened, name_in, np.dtype(np.uint8), name_out, scale, shift, precision)
    view = (model.spec.protocol.num_frames, *model.spec.protocol.frame_size)
    shape, num_logits = (1, *view, 3), len(model.spec.classes)
    return Classifier(model.spec, on_file, shape, num_logits, weights_sha256=model.weights_sha256)


def _agreement(model: Classifier, converted: Classifier, place: Path, clips: Callable[[], np.ndarray]) -> dict:
    """How `converted` agrees with TensorFlow on this processor: remembered, else found out. UserError where it does
    not.
    """
    record = place / "conversion.json"
    here = f"{converted.precision} on {cpu_name()}"
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if here not in known:
        found = agreement(model, converted, clips())
        allowed = LARGEST_ERROR[converted.precision]
        if not found["largest_error"] <= allowed:
            raise UserError(
                f"{model.spec.name} on {converted.runtime} in {converted.precision} does not agree with TensorFlow: "
                f"off by {found['largest_error']:.2g} of the logits' spread, {allowed:g} is allowed"
            )
        known[here] = found
        with written_whole(record) as file:
            json.dump(known, file, indent=1)
    return known[here]


def agreement(model: Classifier, other: Classifier, clips: np.ndarray) -> dict:
    """{"clips", "largest_error", "same_top1"} of two classifiers' logits of (N, T, H, W, 3) uint8 clips.

    largest_error: the largest difference as a fraction of the spread of all of `model`'s logits, smallest to largest
    same_top1: the fraction of the clips whose likeliest class is the same
    """
    wanted, given = model(clips), other(clips)
    worst, spread = float(np.abs(given - wanted).max()), float(np.ptp(wanted))
    return {
        "clips": len(clips),
        "largest_error": worst / spread if spread else (float("inf") if worst else 0.0),
        "same_top1": float((wanted.argmax(1) == given.argmax(1)).mean()),
    }


def default_runtime(precision: str) -> str:
    """The runtime that is taken where none is asked for: int8 is OpenVINO's, all else TensorFlow's."""
    return next(name for name in ("tensorflow", "openvino") if precision in RUNTIMES[name])
