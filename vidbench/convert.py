"""A TensorFlow classifier for another runtime, in float32, bfloat16 or int8: converted once, checked, kept.

A conversion is known by what went into it: the network and its weights, the size of a view, the runtime and the
precision, the calibration clips, the libraries' versions. `folder/<key>/` holds the model and `conversion.json`: the
files' checksums, how many clips it was calibrated with, and how it agreed with TensorFlow, on which processor. One
that is damaged is made anew; one that cannot be kept is used all the same.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidbench.machine import cpu_name, stderr_held
from vidbench.models import Classifier
from vidbench.models.weights import first_line
from vidbench.runtimes.devices import check_precision, warn_without_gain
from vidbench.runtimes.exported import FileRuntime
from vidbench.runtimes.onnxruntime import OnnxModel, onnx_model
from vidbench.runtimes.openvino import OpenVinoModel, openvino, openvino_model
from vidbench.runtimes.quantization import quantize
from vidbench.utils import UserError, extra_module, sha256_of, unknown, written_whole

FORMAT = 2  # of a conversion's folder
LARGEST_ERROR = {"float32": 1e-3, "bfloat16": 0.05, "int8": 0.25}  # of the logits' spread; above it is refused
FILES = {"openvino": "model.xml", "onnxruntime": "model.onnx"}
RECORD = "conversion.json"
ASIDE = ".converting-"  # how the folders of conversions begin that are not done

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Clips that int8 takes its ranges from: `clips()` is (N, T, H, W, 3) uint8, `key` stands for which they are."""

    title: str  # where they are from, in words: "demo train"
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
    says how far they are off, as a fraction of their spread, how often the likeliest class is the same, and why the
    conversion was not kept, None where it was. Where a logit is off by more than LARGEST_ERROR it is refused.

    Raises UserError for that, for a missing library, a precision that the runtime has not, a model that cannot be
    converted or is not TensorFlow's, and int8 without calibration.
    """
    if runtime not in FILES:
        raise unknown("runtime to convert to", runtime, FILES)
    check_precision(precision, runtime)
    warn_without_gain(precision, runtime)
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
    with _conversion(model, runtime, precision, place, calibration) as (place, not_kept):
        converted = _opened(model, runtime, precision, place)
        agrees = _agreement(model, converted, place, clips)
        count = _record(place).get("calibration_clips")
    converted.conversion = agrees | {
        "calibration": f"{count} clips of {calibration.title}" if calibration else None,
        "calibration_key": calibration.key if calibration else None,
        "not_kept": not_kept,
    }
    return converted


def _key(model: Classifier, runtime: str, precision: str, calibration: Calibration | None) -> str:
    """32 hex digits that change with everything that changes the converted model."""
    spec, libraries = model.spec, ["tensorflow", "tf2onnx", runtime, *(["nncf"] if precision == "int8" else [])]
    facts = {
        "format": FORMAT,
        "weights": [spec.name, model.weights_sha256, _digest(model)],
        "pixels": [array.tolist() for array in spec.scale_and_shift()],
        "view": [spec.protocol.num_frames, *spec.protocol.frame_size],
        "to": [runtime, "int8" if precision == "int8" else "float32"],  # bfloat16 is a way of running float32's file
        "calibration": calibration.key if calibration else None,
        "libraries": [importlib.metadata.version(name) for name in libraries],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _digest(model: Classifier) -> str | None:
    """64 hex digits of a network and its weights, None where there is only a file.

    A published checkpoint's own digest does not tell what our code makes of it.
    """
    if model.network is None:
        if model.weights_sha256 is None:
            raise UserError(f"{model.spec.name} is no file and has no network: it cannot be converted")
        return None
    total = hashlib.sha256(json.dumps(model.network.get_config(), sort_keys=True, default=str).encode())
    for array in model.network.get_weights():
        total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return total.hexdigest()


@contextlib.contextmanager
def _conversion(
    model: Classifier, runtime: str, precision: str, place: Path, calibration: Calibration | None
) -> Iterator[tuple[Path, str | None]]:
    """The folder of a conversion, made where `place` has none that is whole, and why it was not kept there, or None.

    One that cannot be kept lies elsewhere, as long as the block lasts.
    """
    if _record(place):
        yield place, None
        return
    log.info("converting %s for %s in %s", model.spec.name, runtime, precision)
    clips = calibration.clips() if calibration else None
    built = _built(model, runtime, clips)
    count = None if clips is None else len(clips)
    not_kept = None
    try:
        _keep(built, runtime, count, place)
    except Exception as problem:  # no room, no right to write: OpenVINO has its own words for it
        not_kept = f"{place.parent}: {first_line(problem)}"
    if not_kept is None:
        yield place, None
        return
    log.warning("the conversion is not kept, each start makes it anew: %s", not_kept)
    with tempfile.TemporaryDirectory() as elsewhere:
        _write(built, runtime, count, Path(elsewhere))
        yield Path(elsewhere), not_kept


def _built(model: Classifier, runtime: str, clips: np.ndarray | None):
    """The model as `runtime` has it, in memory. clips: those that int8 is calibrated with, None for float32."""
    import tensorflow as tf  # not before `vidbench.models`, which holds back what it says when it starts

    traced = model.traced(model.spec.protocol.num_frames, model.spec.protocol.frame_size)
    signature = [tf.TensorSpec(traced.inputs[0].shape, tf.uint8, "frames")]
    function = tf.function(lambda frames: {"logits": traced(frames)}, signature, autograph=False)
    try:
        with stderr_held():
            built = onnx_model(function, signature)
            built = openvino_model(built) if runtime == "openvino" else built
            return built if clips is None else quantize(built, clips)
    except UserError:
        raise
    except Exception as problem:  # whatever a converter meets in a model that it does not know
        raise UserError(f"{model.spec.name} cannot be converted for {runtime}: {first_line(problem)}") from problem


def _keep(built, runtime: str, count: int | None, place: Path) -> None:
    """Write a conversion to `place`, whole or not at all, over a damaged one; raises OSError where it cannot be."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f"{ASIDE}*"):  # by killed processes
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=ASIDE, ignore_cleanup_errors=True) as aside:
        made = Path(aside) / "made"
        made.mkdir()
        _write(built, runtime, count, made)
        if place.exists() and not _record(place):
            place.rename(made.with_name("damaged"))
        with contextlib.suppress(OSError):  # another process was faster: its folder is as good
            made.rename(place)
    if not _record(place):
        raise OSError(f"{place} cannot be read")


def _write(built, runtime: str, count: int | None, folder: Path) -> None:
    """Write a model that `_built` gave and its record to an empty folder."""
    path = folder / FILES[runtime]
    if runtime == "openvino":
        openvino().save_model(built, path, compress_to_fp16=False)
    else:
        extra_module("onnx", "export").save(built, path)
    told = {"sha256": {file.name: sha256_of(file) for file in sorted(folder.iterdir())}, "calibration_clips": count}
    (folder / RECORD).write_text(json.dumps(told | {"agreement": {}}, indent=1), encoding="utf-8")


def _record(place: Path) -> dict:
    """What a conversion's record says, {} where it is missing or its files are not those that were written."""
    try:
        told = json.loads((place / RECORD).read_text(encoding="utf-8"))
        whole = all(sha256_of(place / name) == digest for name, digest in told["sha256"].items())
        return told if whole and isinstance(told["agreement"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


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
    here = f"{converted.precision} on {cpu_name()}"
    told = _record(place)
    known = told.get("agreement", {})
    if here not in known:
        found = agreement(model, converted, clips())
        allowed = LARGEST_ERROR[converted.precision]
        if not found["largest_error"] <= allowed:
            raise UserError(
                f"{model.spec.name} on {converted.runtime} in {converted.precision} does not agree with TensorFlow: "
                f"off by {found['largest_error']:.2g} of the logits' spread, {allowed:g} is allowed"
            )
        known[here] = found
        with contextlib.suppress(OSError), written_whole(place / RECORD) as file:  # else it is compared again
            json.dump(told, file, indent=1)
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
