"""Image classifiers on the backbones of `keras.applications`: built, saved with their contract, called."""

import importlib
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vidbench.candidates.pictures import is_none
from vidbench.metrics import softmax
from vidbench.models import keras  # with its start-up lines held back
from vidbench.models.spec import weights_digest
from vidbench.models.weights import first_line
from vidbench.utils import UserError, canonical_label, unknown, written_whole

SCHEMA = 1
DROPOUT = 0.2
FRESH_MOMENTUM = 0.9  # of batch norms that begin with nothing: some applications' 0.999 needs thousands of steps
IMAGENET = "imagenet"
DRAWINGS = "demo-frames"  # the kit's own network of single frames: a backbone that needs no network


@dataclass(frozen=True, eq=False)
class ImageClassifier:
    """A network with what belongs to it: pixels in, calibrated probabilities out.

    network: (B, size, size, 3) float32, 0 to 255 → (B, C) logits; record: what its JSON says besides
    """

    network: keras.Model
    classes: tuple[str, ...]
    size: int
    temperature: float = 1.0
    sha256: str = ""
    record: dict = field(default_factory=dict)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(B, size, size, 3) uint8 RGB → (B, C) float32 logits, not calibrated."""
        return np.asarray(self.network.predict_on_batch(images.astype(np.float32)))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(B, size, size, 3) uint8 RGB → (B, C) float32 probabilities, calibrated."""
        return softmax(self.logits(images) / self.temperature)


def applications() -> dict[str, str]:
    """The backbones by their name in small letters, as `densenet121`, and in keras.applications."""
    return {name.lower(): name for name in dir(keras.applications) if name[0].isupper()}


def build_network(backbone: str, num_classes: int, size: int, weights: str = IMAGENET) -> keras.Model:
    """(B, size, size, 3) float32, 0 to 255 → (B, num_classes) logits; the application's own preprocessing is inside.

    backbone: a name of `applications`. weights: "imagenet", which is fetched once; "none"; or a file: the weights of
    that application without its top as Keras publishes them (`….h5`), or an image classifier of ours (`.keras`).
    "demo-frames" is the demo's model that sees single frames, with its own weights, for drawn figures.

    Raises UserError for an unknown backbone, a size that it cannot take, weights that do not fit or cannot be had.
    """
    if backbone.lower() == DRAWINGS:
        return _with_head(_of_drawings(size), lambda images: images, num_classes, "demo_frames")
    known = applications()
    if (name := known.get(backbone.lower().replace("_", ""))) is None:
        raise unknown("feature extractor", backbone, [*known, DRAWINGS])
    build = getattr(keras.applications, name)
    preprocess = importlib.import_module(build.__module__).preprocess_input
    shape = {"include_top": False, "input_shape": (size, size, 3), "pooling": "avg"}
    try:
        extractor = _with_imagenet(build, shape, backbone) if weights == IMAGENET else build(weights=None, **shape)
    except ValueError as problem:
        if isinstance(problem, UserError):
            raise
        raise UserError(f"{name} cannot take images of {size}×{size}: {first_line(problem)}") from None
    if weights == "none":
        for layer in _batch_norms(extractor):
            layer.momentum = min(layer.momentum, FRESH_MOMENTUM)
    elif weights != IMAGENET:
        _take_weights(extractor, Path(weights))
    return _with_head(extractor, preprocess, num_classes, name.lower())


def _with_head(extractor: keras.Model, preprocess, num_classes: int, name: str) -> keras.Model:
    extractor.name = "backbone"
    images = keras.Input(extractor.input_shape[1:], name="images")
    x = extractor(preprocess(images))
    x = keras.layers.Dropout(DROPOUT, name="dropout")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=name)


def _of_drawings(size: int) -> keras.Model:
    """(B, size, size, 3) float32, 0 to 255 → (B, 96) features of the demo's network: a video of one frame."""
    from vidbench.models import load_model

    model = load_model(DRAWINGS)
    images = keras.Input((size, size, 3))
    mean, std = (np.array(numbers) for numbers in (model.spec.mean, model.spec.std))
    x = keras.layers.Rescaling((1 / (255 * std)).tolist(), (-mean / std).tolist(), name="normalise")(images)
    x = keras.layers.Reshape((1, size, size, 3), name="one_frame")(x)
    for layer in model.network.layers[1:]:  # a chain: one layer after the other
        x = layer(x)
        if layer.name == "mean":
            return keras.Model(images, x)
    raise AssertionError("the demo's network has no mean")


def _with_imagenet(build, shape: dict, backbone: str) -> keras.Model:
    try:
        return build(weights=IMAGENET, **shape)
    except Exception as problem:  # Keras raises a bare Exception where an address cannot be had
        address = re.search(r"https?://\S+", str(problem))
        if not address:
            raise
        raise UserError(
            f"the ImageNet weights of {backbone} cannot be fetched ({str(problem).rpartition(': ')[2]}): --weights "
            f"none begins without them, --weights FILE takes the file that lies at {address[0].rstrip(':')}"
        ) from None


def _take_weights(extractor: keras.Model, file: Path) -> None:
    if not file.is_file():
        raise UserError(f"no such file: {file}; --weights takes {IMAGENET}, none or a file")
    try:
        if file.suffix == ".keras":
            donor = keras.models.load_model(file, compile=False).get_layer("backbone")
            extractor.set_weights(donor.get_weights())
        else:
            extractor.load_weights(file)
    except Exception as problem:  # whatever Keras and h5py meet in a file that does not fit
        raise UserError(f"{file} does not hold weights of {extractor.name}: {first_line(problem)}") from None


def _batch_norms(model: keras.Model) -> list:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def set_trainable(network: keras.Model, backbone: bool, norms: bool) -> None:
    """Which weights learn: the head always; the backbone, if wanted; in it the batch norms only where `norms` says so.

    A batch norm that does not learn keeps its statistics, too: those of ImageNet are better than a small batch's.
    """
    extractor = network.get_layer("backbone")
    extractor.trainable = backbone
    for layer in _batch_norms(extractor):
        layer.trainable = backbone and norms


def save_classifier(classifier: ImageClassifier, path: Path) -> None:
    """Write `X.keras`, and beside it `X.json`: classes, size, temperature, the weights' SHA-256, and the record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part.keras")
    try:
        classifier.network.save(part)
        digest = weights_digest(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    told = {"classes": classifier.classes, "image_size": classifier.size, "temperature": classifier.temperature}
    with written_whole(path.with_suffix(".json")) as file:
        json.dump({"schema": SCHEMA, "sha256": digest, **told, **classifier.record}, file, indent=1, ensure_ascii=False)


def load_classifier(path: Path, names: Sequence[str] | None = None) -> ImageClassifier:
    """An image classifier from a `.keras` file and the JSON beside it.

    names: its classes in the order of its outputs, where no JSON is there; it is then not calibrated.
    Raises UserError for a missing or damaged file, and where nothing names the classes.
    """
    if not path.is_file():
        raise UserError(f"there is no image classifier {path}")
    record, digest = _record_of(path), weights_digest(path)
    if record is None and names is None:
        raise UserError(f"{path} has no {path.stem}.json beside it: --class-names FILE names its classes, one a line")
    try:
        network = keras.models.load_model(path, compile=False)
    except Exception as problem:  # whatever Keras meets in a damaged file
        why = first_line(problem) if zipfile.is_zipfile(path) else "it is no zip archive, or damaged"
        raise UserError(f"{path} cannot be read as a Keras model: {why}") from None
    shape, outputs = network.input_shape, network.output_shape[-1]
    if len(shape) != 4 or shape[1] is None or shape[1] != shape[2]:
        raise UserError(f"{path} takes {shape}: wanted a network of square images, (None, size, size, 3)")
    if record is None:
        record = {"classes": names, "temperature": 1.0}
    if outputs != len(record["classes"]):
        raise UserError(f"{path} gives {outputs} numbers, {len(record['classes'])} classes are named")
    told = {key: value for key, value in record.items() if key not in ("classes", "temperature")}
    return ImageClassifier(network, tuple(record["classes"]), shape[1], float(record["temperature"]), digest, told)


def _record_of(path: Path) -> dict | None:
    place = path.with_suffix(".json")
    if not place.is_file():
        return None
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        schema, digest = record["schema"], record["sha256"]
        _ = tuple(record["classes"]), float(record["temperature"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{place} is no image classifier's record: {problem}") from None
    if schema != SCHEMA:
        raise UserError(f"{place} has schema {schema}, this version of vidbench reads {SCHEMA}")
    if digest != weights_digest(path):
        raise UserError(f"{path} is not the file that {place.name} was written for (its sha256 differs)")
    return record


def looked_for(classes: Sequence[str], names: Sequence[str] | None) -> list[str | None]:
    """The label of candidates of each class of a classifier, None for classes that are not looked for.

    names: what is looked for; None: all. The class of no action never is. Raises UserError for a name that the
    classifier does not know, and where nothing is left.
    """
    known = {canonical_label(name) for name in classes}
    if strangers := [name for name in names or () if canonical_label(name) not in known]:
        raise unknown("class of the classifier", strangers[0], classes)
    wanted = known if names is None else {canonical_label(name) for name in names}
    labels = [name if canonical_label(name) in wanted and not is_none(name) else None for name in classes]
    if not any(labels):
        raise UserError(f"no class to look for among {', '.join(classes)}")
    return labels
