"""The network that a run begins with: built for the data's classes, with whichever weights fit."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from vidbench.models import FILES, build_model, load_model
from vidbench.models.classifier import Classifier
from vidbench.models.registry import ARCHITECTURES, find_architecture
from vidbench.models.spec import Spec
from vidbench.models.weights import HEAD
from vidbench.runtimes.precision import copy_of, in_bfloat16
from vidbench.utils import UserError, canonical_label

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Start:
    """A network to train, the contract that goes with it, and what it began with, in words."""

    network: keras.Model
    spec: Spec
    weights: str
    source: Classifier | None = None


def start_from(
    model: str | Path | Classifier,
    classes: Sequence[str],
    weights: str | Path | None = None,
    dropout: float | None = None,
    precision: str = "float32",
) -> Start:
    """A network for `classes`.

    model: an architecture, with fresh weights unless `weights` (see `load_model`) says more; or a `.keras` file, the
        name of one, a classifier: the same network goes on where it has the same classes, in its order, else its last
        layer begins anew
    dropout: of every dropout layer, None for the architecture's
    precision: "bfloat16" calculates in it, but for the last layer; the weights are float32

    Raises UserError for models without a Keras network, and weights that do not fit.
    """
    if isinstance(model, Classifier):
        source = model
    elif str(model) in ARCHITECTURES:
        source = None if weights is None else _source(str(model), weights)
    else:
        source = load_model(model, weights=weights)
    if source is None:
        architecture = find_architecture(str(model))
        network, spec = build_model(str(model), len(classes)), architecture.spec(classes=tuple(classes))
        told = "fresh weights"
    else:
        if {canonical_label(name) for name in classes} == {canonical_label(name) for name in source.spec.classes}:
            classes = source.spec.classes  # the same ones: in its order
        network, told = _adapted(source, classes, str(model) if str(model) in ARCHITECTURES else None)
        spec = replace(source.spec, classes=tuple(classes), published=(), provenance={})
    if dropout is not None:
        network = with_dropout(network, dropout)
    if precision == "bfloat16":
        network = in_bfloat16(network)
    return Start(network, spec, told, source)


def _source(architecture: str, weights: str | Path) -> Classifier:
    """The classifier with these weights; a `.keras` file may hold another architecture, as far as layers agree."""
    if Path(weights).suffix == ".keras" or str(weights) in FILES:
        return load_model(weights)
    return load_model(architecture, weights=weights)


def _adapted(source: Classifier, classes: Sequence[str], architecture: str | None) -> tuple[keras.Model, str]:
    network = source.network
    if network is None:
        raise UserError(f"{source.spec.name} is no Keras network: it cannot be trained, a .keras file can")
    same = [canonical_label(name) for name in source.spec.classes] == [canonical_label(name) for name in classes]
    name = architecture or network.name
    if same and name == network.name:
        return copy_of(network), f"all weights of {source.spec.name}"  # the caller's stays as it is
    if name not in ARCHITECTURES:
        raise UserError(
            f"{source.spec.name} has other classes than the data, and its architecture {name!r} is not registered: "
            "it can go on with its own classes only"
        )
    target = build_model(name, len(classes))
    take_weights(target, network, skip_head=not same)
    return target, f"weights of {source.spec.name}" + ("" if same else ", the last layer anew")


def take_weights(target: keras.Model, source: keras.Model, skip_head: bool = True) -> None:
    """Begin with the weights of another network of the same layers.

    Kernels that differ in their extent in time alone are fitted: one of a single frame is repeated and divided by
    their number (inflated: Carreira & Zisserman, CVPR 2017), others are summed for a target of a single frame.
    skip_head: leave the last layer as it is.

    Raises UserError for other layers or shapes, before any weight has changed.
    """
    values = []
    for layer in target.layers:
        if not layer.weights or (skip_head and layer.name.startswith(HEAD)):
            continue
        try:
            given = source.get_layer(layer.name).get_weights()
        except ValueError:
            raise UserError(f"{source.name} has no layer {layer.name!r}, as {target.name} wants") from None
        wanted = [tuple(weight.shape) for weight in layer.weights]
        fitted = [_in_time(value, shape) for value, shape in zip(given, wanted, strict=False)]
        if [value.shape for value in fitted] != wanted:
            got = [value.shape for value in given]
            raise UserError(f"the layer {layer.name!r} of {source.name} has {got}, {target.name} wants {wanted}")
        values.append((layer, fitted))
    for layer, fitted in values:
        layer.set_weights(fitted)


def _in_time(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if kernel.shape == shape or kernel.ndim != 5 or kernel.shape[1:] != shape[1:]:
        return kernel
    if shape[0] == 1:
        return kernel.sum(axis=0, keepdims=True)
    return np.repeat(kernel / shape[0], shape[0], axis=0) if kernel.shape[0] == 1 else kernel


def with_dropout(network: keras.Model, rate: float) -> keras.Model:
    """A copy whose dropout layers drop this share."""
    if not 0 <= rate < 1:
        raise UserError(f"dropout must lie between 0 and 1, got {rate:g}")
    if not any(isinstance(layer, keras.layers.Dropout) for layer in network.layers):
        raise UserError(f"{network.name} has no dropout layers")

    def cloned(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.Dropout):
            config["rate"] = rate
        return type(layer).from_config(config)

    copy = keras.models.clone_model(network, clone_function=cloned)
    copy.set_weights(network.get_weights())
    return copy


def set_sync_bn(layers: Iterable[keras.Layer], synchronized: bool) -> None:
    """Let batch norms see the clips of all devices of a TensorFlow strategy; on JAX they always do."""
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized
