"""Models as `.keras` files, each with its contract beside it as `.json`."""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras

from vidbench.data.protocol import Protocol
from vidbench.models.classifier import Classifier, network_classifier
from vidbench.models.registry import ARCHITECTURES
from vidbench.models.spec import Spec, read_spec, weights_digest, write_spec
from vidbench.models.weights import first_line
from vidbench.runtimes.precision import copy_of, in_float32
from vidbench.utils import UserError


def save_model(network: keras.Model, path: Path, spec: Spec) -> None:
    """Write `path`, a `.keras` file without optimiser state, and its spec beside it as `.json`.

    Raises UserError for another suffix, and for a spec with another number of classes or size of frames.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise UserError(f"a model is saved as .keras, not as {path.name}")
    if network.output_shape[-1] != len(spec.classes):
        raise UserError(f"{spec.name} has {len(spec.classes)} classes but gives {network.output_shape[-1]} logits")
    height, width = network.input_shape[2:4]
    if height and width and (height, width) != spec.protocol.frame_size:
        wanted = "×".join(map(str, spec.protocol.frame_size))
        raise UserError(
            f"{spec.name} shows frames of {wanted}, the network takes {height}×{width}: change its protocol"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        part = Path(folder) / path.name
        copy_of(network).save(part)
        write_spec(part.with_suffix(".json"), spec, part)
        part.replace(path)  # the two belong together: nothing slow lies between them
        part.with_suffix(".json").replace(path.with_suffix(".json"))


def load_file(
    path: Path,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """A `.keras` file with its spec, or with the class names given, as a classifier; see `load_model`.

    Raises UserError for a missing or damaged file, and where neither a spec nor names are there.
    """
    if not path.is_file():
        raise UserError(f"there is no model file {path}")
    spec_path = path.with_suffix(".json")
    if classes is None and not spec_path.is_file():
        raise UserError(
            f"{path} has no {spec_path.name} beside it, which names its classes (evaluate.py and predict.py take them "
            "from --model-classes FILE, one a line in the order of its outputs)"
        )
    spec = read_spec(spec_path, path).adapted(classes, value_range) if spec_path.is_file() else None
    try:
        network = in_float32(keras.models.load_model(path, compile=False))
    except Exception as problem:  # whatever Keras meets in a damaged file
        why = first_line(problem) if zipfile.is_zipfile(path) else "it is no zip archive, or damaged"
        raise UserError(f"{path} cannot be read as a Keras model: {why}") from None
    if spec is None:
        spec = _usual_spec(path.stem, network, tuple(classes)).adapted(value_range=value_range)
    return network_classifier(network, spec, precision, weights_digest(path))


def _usual_spec(name: str, network: keras.Model, classes: tuple[str, ...]) -> Spec:
    """The contract of the network's architecture, else the default one, with the sizes that the network insists on."""
    usual = Spec(name, classes, Protocol())
    if network.name in ARCHITECTURES:
        usual = replace(ARCHITECTURES[network.name].spec(classes=classes), name=name)
    return replace(usual, protocol=fitting(usual.protocol, network.input_shape))


def fitting(protocol: Protocol, shape: Sequence[int | None]) -> Protocol:
    """`protocol` with the frames and the size that an input of `shape` (B, T, H, W, 3) insists on; None is open."""
    _, num_frames, height, width, _ = shape
    if num_frames:
        protocol = replace(protocol, num_frames=num_frames)
    if height and width:
        protocol = replace(protocol, resize="exact", resize_to=(height, width), crop=None)
    return protocol
