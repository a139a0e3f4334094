"""Models by name, by file and by address: `load_model("demo")(frames)`."""

import importlib
import pkgutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidbench.data.datasets.registry import ROOT
from vidbench.machine import stderr_held
from vidbench.utils import UserError, unknown

with stderr_held():  # TensorFlow's start-up lines would bury ours
    import keras

from vidbench.data.protocol import Protocol
from vidbench.models import hub
from vidbench.models.classifier import Classifier, gflop, network_classifier
from vidbench.models.registry import ARCHITECTURES, PROTOCOLS, find_architecture
from vidbench.models.savedmodel import load_folder
from vidbench.models.spec import Published, Spec, read_spec, weights_digest, write_spec
from vidbench.models.weights import (
    PUBLISHED_SPECS,
    checkpoint_digest,
    count_classes,
    first_line,
    load_reference_weights,
    read_checkpoint,
)
from vidbench.runtimes import device_name, use_all_cpus

__all__ = [
    "Classifier",
    "Published",
    "Spec",
    "available_models",
    "build_model",
    "gflop",
    "load_model",
    "load_reference_weights",
    "network_classifier",
    "save_model",
]

FILES = {"demo": ROOT / "data" / "demo" / "model.keras", "demo-frames": ROOT / "data" / "demo" / "frames.keras"}

for _module in pkgutil.iter_modules(__path__):  # a new architecture is one new file
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")


def available_models() -> list[str]:
    """Every name that `load_model` knows, sorted; architectures among them need weights."""
    return sorted([*FILES, *hub.HANDLES, *ARCHITECTURES])


def build_model(name: str, num_classes: int, **options) -> keras.Model:
    """A registered architecture with fresh weights: (B, T, H, W, 3) float32, normalised → (B, num_classes) logits.

    Raises UserError for an unknown name or fewer than one class.
    """
    build = find_architecture(name)
    if num_classes < 1:
        raise UserError(f"a model needs at least 1 class, got {num_classes}")
    return build(num_classes, **options)


def load_model(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """A classifier ready for pixels: by name, from a `.keras` file or SavedModel folder, or by hub address.

    weights: for an architecture: a `.keras` file, or a checkpoint as published (`…/model.ckpt`)
    classes: names in the order of the outputs, for files without a spec or instead of the spec's
    precision: "float32" or "bfloat16"
    value_range: what pixels 0 and 255 are taken to, instead of the spec's

    Raises UserError for an unknown name, a missing or damaged file, weights that do not fit, no network.
    """
    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    name, path = str(name_or_path), Path(name_or_path)
    options = {"classes": classes, "precision": precision, "value_range": value_range}
    if name in ARCHITECTURES:
        return _load_architecture(name, weights, **options)
    if weights is not None:
        raise UserError(f"{name} brings its own weights; weights go with {', '.join(sorted(ARCHITECTURES))}")
    if name in FILES:
        return _load_keras(FILES[name], **options)
    if name in hub.HANDLES:
        return hub.load_module(name, ROOT, **options)
    if name.startswith(("http://", "https://")):
        return hub.load_handle(name, ROOT, **options)
    if path.suffix == ".keras":
        return _load_keras(path, **options)
    if path.is_dir():
        return load_folder(path, **options)
    if path.is_file():
        raise UserError(f"{name} is neither a .keras file nor a SavedModel folder")
    if path.parent != Path():
        raise UserError(f"there is no model file or folder {name}")
    raise unknown("model", name, available_models())


def save_model(network: keras.Model, path: Path, spec: Spec) -> None:
    """Write `path`, a `.keras` file without optimiser state, and its spec beside it as `.json`.

    Raises UserError for another suffix and for a spec with another number of classes.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise UserError(f"a model is saved as .keras, not as {path.name}")
    if network.output_shape[-1] != len(spec.classes):
        raise UserError(f"{spec.name} has {len(spec.classes)} classes but gives {network.output_shape[-1]} logits")
    bare = type(network).from_config(network.get_config())  # never compiled, so without an optimiser
    bare.set_weights(network.get_weights())
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        part = Path(folder) / path.name
        bare.save(part)
        part.replace(path)
    write_spec(path.with_suffix(".json"), spec, path)


def _load_architecture(name: str, weights, classes, precision, value_range) -> Classifier:
    if weights is None:
        raise UserError(f"{name} is an architecture: give --weights FILE, a .keras file or a published checkpoint")
    if Path(weights).suffix == ".keras":
        model = _load_keras(Path(weights), classes, precision, value_range)
        if model.network.name != name:
            raise UserError(f"{weights} holds {model.network.name}, not {name}")
        return model
    if name not in PUBLISHED_SPECS:
        raise UserError(f"{name} takes weights from a .keras file only, not from {weights}")
    tensors = read_checkpoint(weights)
    spec = PUBLISHED_SPECS[name](count_classes(name, tensors), Path(weights)).adapted(classes, value_range)
    network = build_model(name, len(spec.classes))
    load_reference_weights(network, tensors)
    return network_classifier(network, spec, precision, checkpoint_digest(weights))


def _load_keras(path: Path, classes, precision, value_range) -> Classifier:
    if not path.is_file():
        raise UserError(f"there is no model file {path}")
    spec_path = path.with_suffix(".json")
    if classes is None and not spec_path.is_file():
        raise UserError(
            f"{path} has no {spec_path.name} beside it: name its classes with --model-classes FILE, one a line in the "
            "order of its outputs"
        )
    spec = read_spec(spec_path, path).adapted(classes, value_range) if spec_path.is_file() else None
    try:
        network = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as problem:
        why = first_line(problem) if zipfile.is_zipfile(path) else "it is no zip archive, or damaged"
        raise UserError(f"{path} cannot be read as a Keras model: {why}") from None
    if spec is None:
        spec = Spec(path.stem, tuple(classes), _usual_protocol(network), value_range=tuple(value_range or (0.0, 1.0)))
    return network_classifier(network, spec, precision, weights_digest(path))


def _usual_protocol(network: keras.Model) -> Protocol:
    """The protocol of the network's architecture, else the default one, with the sizes that the network insists on."""
    protocol = PROTOCOLS.get(network.name, Protocol())
    _, num_frames, height, width, _ = network.input_shape
    if num_frames:
        protocol = replace(protocol, num_frames=num_frames)
    if height and width:
        protocol = replace(protocol, resize="exact", resize_to=(height, width), crop=None)
    return protocol
