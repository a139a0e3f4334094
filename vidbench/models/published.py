"""Architectures with weights that others trained: found by name or by file, read, checked, converted once."""

import glob
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock

from vidbench.data.fetch import fetch_file
from vidbench.models import hub
from vidbench.models.classifier import Classifier, network_classifier
from vidbench.models.files import load_file, save_model
from vidbench.models.registry import Architecture, Weights
from vidbench.models.spec import Spec, read_spec, weights_digest
from vidbench.models.torchfile import is_torch_file, read_torch
from vidbench.models.weights import checkpoint_digest, count_classes, load_reference_weights, read_checkpoint
from vidbench.utils import UserError

log = logging.getLogger(__name__)
VARIABLES = Path("variables", "variables")  # the checkpoint inside a SavedModel


def load_architecture(
    architecture: Architecture,
    weights: str | Path | None,
    root: Path,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """An architecture with `weights`, a name of `architecture.weights` or a file; see `load_model`.

    Raises UserError for no weights, for a file that is missing, damaged or of another network, and for a last layer
    whose classes nobody names.
    """
    names = ", ".join(architecture.weights)
    if weights is None:
        published = f"the name of published ones ({names}), " if names else ""
        raise UserError(f"{architecture.name} is an architecture: give --weights {published}or a FILE")
    path = Path(weights)
    if str(weights) in architecture.weights:
        model = load_file(converted(architecture, str(weights), root), classes, precision, value_range)
        model.weights_sha256 = model.spec.provenance["sha256"]  # the same on every machine; the converted file is not
        return model
    if path.suffix == ".keras":
        model = load_file(path, classes, precision, value_range)
        if model.network.name != architecture.name:
            raise UserError(f"{path} holds {model.network.name}, not {architecture.name}")
        return model
    if not architecture.renames:
        raise UserError(f"nobody published weights of {architecture.name}: it takes a .keras file, not {path}")
    if not path.exists() and not list(path.parent.glob(f"{glob.escape(path.name)}.*")):
        raise UserError(f"there is no weight file {path}; published weights: {names or 'none'}")
    tensors, digest = read_tensors(path)
    spec = spec_of_tensors(architecture, tensors, path, digest, classes).adapted(classes, value_range)
    network = _built(architecture, len(spec.classes), tensors)
    return network_classifier(network, spec, precision, digest)


def converted(architecture: Architecture, name: str, root: Path) -> Path:
    """The `.keras` file, spec beside it, of published weights; made from what was published when it is first asked for.

    It lies in `root/data/models/<architecture>/`, and so does the file it is made from, which may be placed there by
    hand. Raises UserError that says so when it can be neither found nor fetched.
    """
    weights, folder = architecture.weights[name], root / "data" / "models" / architecture.name
    target = folder / f"{name}.keras"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # several jobs may start at once
        if _is_whole(target):
            return target
        for left in folder.glob(".saving-*"):  # by a process that was killed
            shutil.rmtree(left)
        changes: dict = {"name": f"{architecture.name}-{name}"}
        if weights.address in hub.HANDLES:
            source = hub.find_module(weights.address, hub.placed_at(weights.address, root))
            changes["value_range"] = hub.MODULE_RANGE
        else:
            source = find_file(weights, folder)
        tensors, digest = read_tensors(source)
        changes["provenance"] = {"address": weights.address, "file": source.name, "sha256": digest}
        network = _built(architecture, len(weights.classes), tensors)
        save_model(network, target, replace(architecture.spec(weights), **changes))
        log.info("%s: converted to %s", source, target)
    return target


def _is_whole(target: Path) -> bool:
    try:
        return target.is_file() and bool(read_spec(target.with_suffix(".json"), target))
    except UserError as problem:
        log.warning("%s; it is made anew", problem)
        return False


def _built(architecture: Architecture, num_classes: int, tensors: Mapping[str, np.ndarray]) -> keras.Model:
    """The network with a reference's tensors, in float32 whatever the process trains in."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        network = architecture.build(num_classes)
    finally:
        keras.config.set_dtype_policy(policy)
    load_reference_weights(network, tensors)
    return network


def find_file(weights: Weights, folder: Path) -> Path:
    """The published file in `folder`, fetched if it does not lie there; its SHA-256 begins as its publisher says."""
    path = folder / weights.file
    if not path.is_file():
        part = path.with_name(f"{path.name}.fetched")
        try:
            fetch_file(weights.address, part)
        except UserError as problem:
            raise UserError(
                f"{problem}. To place the file by hand, download {weights.address} where there is a network and put it "
                f"at {path}"
            ) from None
        if not is_torch_file(part) or not weights_digest(part).startswith(weights.sha256):
            part.unlink()
            raise UserError(f"{weights.address} answered with another file than the published one; try again later")
        part.replace(path)
        return path
    digest = weights_digest(path)
    if not digest.startswith(weights.sha256):
        raise UserError(
            f"{path} is not the published file: its sha256 begins with {digest[:8]}, not with {weights.sha256}; "
            f"remove it, and it will be fetched anew, or use a file of your own as it is: --weights {path}"
        )
    return path


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The tensors of a weight file by their own names, and its SHA-256.

    PyTorch's files, TensorFlow checkpoints and the folders of TF-Hub modules are read; nothing in them is executed.
    Raises UserError for a missing, a damaged and any other file.
    """
    if (path / "saved_model.pb").is_file():
        return read_checkpoint(path / VARIABLES), weights_digest(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder without saved_model.pb: name a weight file")
    if path.is_file() and (is_torch_file(path) or not path.with_suffix(".index").is_file()):
        return read_torch(path), weights_digest(path)
    return read_checkpoint(path), checkpoint_digest(path)


def spec_of_tensors(
    architecture: Architecture,
    tensors: Mapping[str, np.ndarray],
    path: Path,
    digest: str,
    classes: Sequence[str] | None = None,
) -> Spec:
    """The contract of a file's tensors: that of the published weights with as many classes, else with `classes`.

    The published accuracies stay only where the file is known to be the published one. Raises UserError where nobody
    names the classes.
    """
    number = count_classes(architecture.name, tensors)
    name = path.stem if path.stem.lower().startswith(architecture.name) else f"{architecture.name}-{path.stem}"
    changes: dict = {"name": name, "provenance": {"file": path.name, "sha256": digest}}
    if path.is_dir():  # a TF-Hub module
        changes["value_range"] = hub.MODULE_RANGE
    for weights in architecture.weights.values():
        if number == len(weights.classes):
            changes |= {} if weights.are(path, digest) else {"published": ()}
            return replace(architecture.spec(weights), **changes)
    if classes is None:
        raise UserError(
            f"{path} tells {number} classes apart and does not name them (evaluate.py and predict.py take them from "
            "--model-classes FILE, one a line)"
        )
    if len(classes) != number:
        raise UserError(f"{path} tells {number} classes apart, {len(classes)} names were given")
    return replace(architecture.spec(classes=tuple(classes)), **changes)
