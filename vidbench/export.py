"""A trained classifier as a file for other runtimes: ONNX, SavedModel or OpenVINO, checked before it is kept."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vidbench import __version__
from vidbench.machine import stderr_held
from vidbench.models import Classifier, Spec, load_model, network_classifier
from vidbench.models.spec import SCHEMA, weights_digest, write_spec
from vidbench.models.weights import first_line
from vidbench.runtimes.onnxruntime import onnx_model
from vidbench.runtimes.openvino import openvino, openvino_model
from vidbench.runtimes.precision import copy_of, in_float32, unrolled
from vidbench.utils import UserError, extra_module, unknown

EXPORT_INPUTS = ("uint8", "float32")
LARGEST_ERROR = 1e-3  # of the logits' spread, at which an export is refused; a right one has some 1e-6
MODEL_NAMES = {"onnx": "model.onnx", "saved_model": "saved_model", "openvino": "openvino"}  # in the folder
MARKS = {"saved_model": "saved_model.pb", "openvino": "model.xml"}  # what a folder of that kind holds


def export_model(
    classifier: Classifier,
    folder: Path,
    formats: Sequence[str] = ("onnx",),
    export_input: str = "uint8",
    *,
    clips: np.ndarray,
    licence: str = "not stated",
) -> dict[str, dict]:
    """Write a classifier with a Keras network into `folder` and return, for each format,
    {"path", "sha256", "input", "largest_error"}.

    formats: "onnx"         `model.onnx`, `model.json` beside it
             "saved_model"  `saved_model/`, with `spec.json` in it
             "openvino"     `openvino/model.xml`, `model.bin`, `model.json`
    export_input: "uint8" for pixels, scaled in the graph, or "float32" for frames that are normalised already
    clips: (N, T, H, W, 3) uint8, real ones, of the protocol's size: what the check is made with
    licence: of the weights

    The input is `frames`, (batch, T, H, W, 3) with an open batch and the protocol's T, H and W, the output `logits`.
    All is float32, in whichever precision the network was trained. The JSON is that of a `.keras` file with "input"
    and "licence"; an ONNX file holds the same in its metadata. `load_model` reads all of them.

    Each file is loaded again and fed `clips`, one at a time and all at once: where a logit is off by more than a
    thousandth of the logits' spread it is not kept. Files appear whole and replace earlier exports, or not at all.

    Raises UserError for that, for an unknown format or input, clips that do not fit, a classifier without a network,
    a missing library, a network that cannot be converted, another Keras backend than TensorFlow, and a folder that
    holds something else under one of the names.
    """
    folder, spec = Path(folder), classifier.spec
    _check(classifier, folder, formats, export_input, clips)
    network = in_float32(copy_of(classifier.network))
    wanted = network_classifier(network, spec)(clips)
    function = _serving_function(network, spec, export_input)
    told = {"input": export_input, "licence": licence}
    folder.mkdir(parents=True, exist_ok=True)
    report = {}
    for kind in formats:
        name = MODEL_NAMES[kind]
        with tempfile.TemporaryDirectory(dir=folder, prefix=".exporting-") as aside:
            made, old = Path(aside) / "new", Path(aside) / "old"
            made.mkdir()
            old.mkdir()
            try:
                with stderr_held():
                    WRITERS[kind](made / name, network, function, spec, told)
                model = load_model(made / name)
            except Exception as problem:  # whatever a converter meets in a network that it does not know
                why = first_line(problem).replace(f"{made}/", "")
                raise UserError(f"{spec.name} cannot be exported as {kind}: {why}") from problem
            error = largest_error(model, clips, wanted)
            if not error <= LARGEST_ERROR:
                raise UserError(
                    f"{spec.name} as {kind} gives other logits than in Keras: off by {error:.2g} of their spread, "
                    f"{LARGEST_ERROR:g} is allowed; it was not kept"
                )
            _put(made, folder, old)
        digest = weights_digest(folder / name / "model.xml" if kind == "openvino" else folder / name)
        report[kind] = {"path": str(folder / name), "sha256": digest, "input": export_input, "largest_error": error}
    return report


def largest_error(model: Classifier, clips: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference between the logits of `clips`, one at a time and all at once, and those `wanted`.

    As a fraction of the spread of all logits `wanted`, from the smallest to the largest.
    """
    differences = []
    for clips_at_once in (1, len(clips)):
        model.clips_at_once = clips_at_once
        differences.append(np.abs(model(clips) - wanted).max())
    worst, spread = float(max(differences)), float(np.ptp(wanted))
    return worst / spread if spread else (float("inf") if worst else 0.0)


def _check(classifier: Classifier, folder: Path, formats: Sequence[str], export_input: str, clips: np.ndarray) -> None:
    spec = classifier.spec
    for kind in formats:
        if kind not in WRITERS:
            raise unknown("format", kind, WRITERS)
    if export_input not in EXPORT_INPUTS:
        raise unknown("export input", export_input, EXPORT_INPUTS)
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"export runs on TensorFlow: start it without KERAS_BACKEND={keras.backend.backend()}")
    if classifier.network is None:
        raise UserError(f"{spec.name} has no Keras network to export: only architectures and .keras files have")
    view = (spec.protocol.num_frames, *spec.protocol.frame_size, 3)
    if clips.ndim != 5 or len(clips) == 0 or clips.shape[1:] != view:
        wanted = ", ".join(map(str, view))
        raise UserError(f"the check of an export needs clips (N, {wanted}), N at least 1, got {clips.shape}")
    if "onnx" in formats and (folder / "model.keras").exists():
        raise UserError(f"{folder} holds model.keras, whose model.json is in the way: export to another folder")
    for kind, mark in MARKS.items():
        place = folder / MODEL_NAMES[kind]
        if kind in formats and place.is_dir() and any(place.iterdir()) and not (place / mark).is_file():
            raise UserError(f"{place} holds something else than an earlier export: choose another folder")


def _serving_function(network: keras.Model, spec: Spec, export_input: str) -> tf.types.experimental.PolymorphicFunction:
    """The network as a function of `frames` that gives {"logits": …}; recurrent layers are unrolled."""
    view = (None, spec.protocol.num_frames, *spec.protocol.frame_size, 3)
    scale, shift = spec.scale_and_shift()

    def serve(frames):
        if export_input == "uint8":
            frames = tf.cast(frames, tf.float32) * scale + shift
        with unrolled(network):
            return {"logits": network(frames, training=False)}

    return tf.function(serve, [tf.TensorSpec(view, export_input, "frames")], autograph=False)


def _write_onnx(path: Path, network: keras.Model, function, spec: Spec, told: dict[str, str]) -> None:
    onnx, model = extra_module("onnx", "export"), onnx_model(function, function.input_signature)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    facts = {"schema": str(SCHEMA), "spec": json.dumps(spec.to_dict(), ensure_ascii=False)}
    facts |= {"classes": json.dumps(spec.classes, ensure_ascii=False), "domain": spec.domain}
    onnx.helper.set_model_props(model, facts | told | {"vidbench": __version__})
    onnx.checker.check_model(model)  # what it could not convert, tf2onnx leaves in the graph
    onnx.save(model, path)
    write_spec(path.with_suffix(".json"), spec, path, **told)


def _write_saved_model(path: Path, network: keras.Model, function, spec: Spec, told: dict[str, str]) -> None:
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serve", function)
    archive.write_out(path, verbose=False)
    write_spec(path / "spec.json", spec, path, **told)


def _write_openvino(path: Path, network: keras.Model, function, spec: Spec, told: dict[str, str]) -> None:
    model = openvino_model(onnx_model(function, function.input_signature))
    openvino().save_model(model, path / "model.xml", compress_to_fp16=False)
    write_spec(path / "model.json", spec, path / "model.xml", **told)


WRITERS: dict[str, Callable] = {"onnx": _write_onnx, "saved_model": _write_saved_model, "openvino": _write_openvino}


def _put(made: Path, folder: Path, old: Path) -> None:
    """What lies in `made` takes its place in `folder`; what stood there goes to `old` first.

    Between the two there is no model, or one without its JSON: never a model with another one's.
    """
    names = sorted(path.name for path in made.iterdir())
    for name in names:
        if (folder / name).exists():
            (folder / name).rename(old / name)
    for name in names:
        (made / name).rename(folder / name)
