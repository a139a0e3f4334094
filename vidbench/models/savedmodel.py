"""SavedModels with one video input, TensorFlow 2's and TF1 Hub's, as classifiers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from vidbench.data.protocol import Protocol
from vidbench.models.classifier import Classifier
from vidbench.models.spec import Spec, read_spec, weights_digest
from vidbench.models.weights import first_line, read_checkpoint
from vidbench.runtimes import TensorFlowRuntime
from vidbench.utils import UserError

SIGNATURES = ("default", "serving_default")
PIXEL_TYPES = (tf.uint8, tf.float32, tf.float16, tf.bfloat16, tf.float64)


@dataclass(frozen=True)
class Signature:
    """A function of a SavedModel: `call(input name, tensor, output name)`, and what its tensors are."""

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]
    call: Callable


def load_folder(
    folder: Path,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """A SavedModel folder `X` with its spec, `X.json` or `X/spec.json`, or with the class names given.

    Raises UserError where neither is there. Without a spec, pixels are taken to `value_range`, else to 0…1.
    """
    folder = Path(folder)
    found = [path for path in (folder.with_name(f"{folder.name}.json"), folder / "spec.json") if path.is_file()]
    if found:
        spec = read_spec(found[0], folder).adapted(classes, value_range)
    elif classes is not None:
        spec = Spec(folder.name, tuple(classes), Protocol(), value_range=tuple(value_range or (0.0, 1.0)))
    elif (folder / "saved_model.pb").is_file():
        raise UserError(
            f"{folder} has no spec ({folder.name}.json beside it or spec.json inside): "
            "name its classes, in the order of its outputs"
        )
    else:
        raise UserError(f"{folder} is no SavedModel folder: it holds no saved_model.pb")
    return load_saved_model(folder, spec, precision, range_given=value_range is not None)


def load_saved_model(folder: Path, spec: Spec, precision: str = "float32", range_given: bool = False) -> Classifier:
    """The SavedModel in `folder` under the contract `spec`.

    A model that takes uint8 is given the pixels as they are: it scales them itself. Raises UserError for a folder
    that is no SavedModel, and for one with other than one input (B, T, H, W, 3) and one output (B, classes).
    """
    signature = read_signature(folder)
    key, pixels = video_input(folder, signature.inputs)
    output = logits_output(folder, signature.outputs)
    if pixels.dtype == tf.uint8 and range_given:
        raise UserError(f"{folder} takes uint8 pixels and scales them itself: it has no value range to set")
    scale, shift = spec.scale_and_shift()

    def logits(frames):
        if pixels.dtype != tf.uint8:
            frames = tf.cast(tf.cast(frames, tf.float32) * scale + shift, pixels.dtype)
        return tf.cast(signature.call(key, frames, output), tf.float32)

    shape = (None,) * 4 if pixels.shape.rank is None else tuple(pixels.shape[:4])
    given = signature.outputs[output].shape
    num_logits = None if given.rank is None else given[-1]
    runtime = TensorFlowRuntime(logits, precision)
    return Classifier(spec, runtime, (*shape, 3), num_logits, None, weights_digest(folder))


def read_signature(folder: Path) -> Signature:
    """The function of a SavedModel to use: "default", else "serving_default", else the only one.

    Of several graphs that for serving is taken, else that without tags (TF1 Hub), else the first. Raises UserError
    for a damaged folder, or with no function to choose.
    """
    folder = Path(folder)
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"{folder} is no SavedModel folder: it holds no saved_model.pb")
    try:
        graphs = {
            tuple(sorted(graph.meta_info_def.tags)): graph
            for graph in SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs
        }
        tags = next(tags for tags in (("serve",), (), *graphs, None) if tags in graphs or tags is None)
        if tags is None:
            raise UserError(f"{folder} cannot be read as a SavedModel: it holds no graph")
        if any(node.op in ("Variable", "VariableV2") for node in graphs[tags].graph_def.node):
            return _of_reference_variables(folder, graphs[tags])
        model = tf.saved_model.load(str(folder), tags=list(tags))
    except (DecodeError, OSError, KeyError, ValueError, RuntimeError, tf.errors.OpError) as problem:
        if isinstance(problem, UserError):
            raise
        raise UserError(f"{folder} cannot be read as a SavedModel: {first_line(problem)}") from None
    name = _chosen_signature(folder, list(model.signatures))
    found = model.signatures[name]

    def call(key, frames, output):
        return model.signatures[name](**{key: frames})[output]  # through `model`, which keeps the variables alive

    return Signature(found.structured_input_signature[1], dict(found.structured_outputs), call)


def video_input(folder: Path, inputs: dict[str, tf.TensorSpec]) -> tuple[str, tf.TensorSpec]:
    """Name and shape of the one video input; UserError where there is another number or shape."""
    listed = ", ".join(f"{key} {spec.shape} {spec.dtype.name}" for key, spec in inputs.items())
    if len(inputs) != 1:
        raise UserError(f"{folder} must have one input, the video; it has {len(inputs)}: {listed}")
    ((key, spec),) = inputs.items()
    if spec.shape.rank not in (None, 5) or (spec.shape.rank == 5 and spec.shape[4] not in (None, 3)):
        raise UserError(f"{folder} must take (B, T, H, W, 3); its input is {listed}")
    if spec.dtype not in PIXEL_TYPES:
        raise UserError(f"{folder} must take uint8 pixels or floats; its input is {listed}")
    return key, spec


def logits_output(folder: Path, outputs: dict[str, tf.TensorSpec]) -> str:
    """The output that holds the logits: the only one, else "default", else "logits"; it must be (B, classes)."""
    usual = [name for name in ("default", "logits") if name in outputs]
    names = list(outputs) if len(outputs) == 1 else usual
    if not names or outputs[names[0]].shape.rank not in (None, 2):
        listed = ", ".join(f"{key} {spec.shape}" for key, spec in outputs.items())
        raise UserError(f"{folder} must give one output of logits (B, classes); it gives {listed}")
    return names[0]


def _chosen_signature(folder: Path, names: list[str]) -> str:
    usual = [name for name in SIGNATURES if name in names]
    if not usual and len(names) != 1:
        raise UserError(f"{folder} has no signature to choose: {', '.join(names) or 'none at all'}")
    return (usual or names)[0]


def _of_reference_variables(folder: Path, meta: MetaGraphDef) -> Signature:
    """A graph with the variables of early TensorFlow 1, as TF1 Hub's older modules have them.

    `tf.saved_model.load` runs these, but as a black box that cannot be rewritten or counted. Here the variables are
    read from the checkpoint and fed in as tensors.
    """
    chosen = meta.signature_def[_chosen_signature(folder, list(meta.signature_def))]
    values = read_checkpoint(folder / "variables" / "variables")
    variables = {n.name: tf.constant(values[n.name]) for n in meta.graph_def.node if n.op in ("Variable", "VariableV2")}

    def call(key, frames, output):
        wanted = chosen.outputs[output].name
        graph = tf.compat.v1.graph_util.extract_sub_graph(meta.graph_def, [wanted.split(":")[0]])
        kept = {node.name for node in graph.node}
        fed = {f"{name}:0": tensor for name, tensor in variables.items() if name in kept}
        fed[chosen.inputs[key].name] = frames
        here = tf.compat.v1.get_default_graph()
        fed = {name: here.capture(tensor) for name, tensor in fed.items()}
        return tf.graph_util.import_graph_def(graph, fed, [wanted], name="")[0]

    inputs, outputs = (
        {key: tf.TensorSpec(info.tensor_shape, tf.as_dtype(info.dtype)) for key, info in tensors.items()}
        for tensors in (chosen.inputs, chosen.outputs)
    )
    return Signature(inputs, outputs, call)
