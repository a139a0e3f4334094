"""Weights that others trained: reference names → our variables, and reading TensorFlow checkpoints.

An architecture says how a reference calls its tensors with one table, `reference_weights(name, …)`, in its own
file. The rest, layouts and batch norm, follows from the shapes and the names alone.
"""

import glob
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidbench.models.spec import Spec
from vidbench.utils import UserError, sha256_of

RENAMES: dict[str, tuple[tuple[str, str], ...]] = {}
PUBLISHED_SPECS: dict[str, Callable[[int, Path], Spec]] = {}


def reference_weights(name: str, spec: Callable[[int, Path], Spec], *renames: tuple[str, str]) -> None:
    """Register what architecture `name` needs to take published weights.

    spec: number of classes and the file → the contract of the published weights, UserError where none has so many
    renames: (regular expression, replacement), applied in order; what comes out is a variable's path,
        `<layer>/<variable>`. Tables of several references may stand one after the other where their patterns do
        not touch each other's names. The last layer's name begins with `logits`.
    """
    if name in RENAMES:
        raise ValueError(f"architecture {name!r} already has its reference names")
    RENAMES[name], PUBLISHED_SPECS[name] = renames, spec


def count_classes(name: str, tensors: Mapping[str, np.ndarray]) -> int:
    """How many classes a reference's tensors for architecture `name` tell apart: the length of the last bias."""
    for tensor, value in tensors.items():
        if re.fullmatch(r"logits\w*/bias", our_name(tensor, RENAMES.get(name, ()))):
            return len(value)
    raise UserError(f"these weights hold no last layer that {name} knows: is it another model's file?")


def load_reference_weights(model, tensors: Mapping[str, np.ndarray]) -> None:
    """Assign a reference's tensors to the variables of `model`, a Keras model of `build_model`.

    Names without a slash are PyTorch's and come in its layout, (O, I, T, H, W) or (O, I); names with one are
    TensorFlow's. Batch counters (`num_batches_tracked`) are dropped. A batch-norm scale that our layer lacks is
    folded into the kernel before it: s · (conv(x) - mean) / std = (s·conv(x) - s·mean) / std.

    Raises ValueError, before any variable has changed, that names every tensor of no use, every variable without
    a tensor and every wrong shape.
    """
    if model.name not in RENAMES:
        raise UserError(f"no reference names are known for {model.name!r}, only for {_some(RENAMES)}")
    sources, values = {}, {}
    for name in tensors:
        if name.endswith("num_batches_tracked"):
            continue
        path = our_name(name, RENAMES[model.name])
        if path in sources:
            raise UserError(f"{model.name}: the tensors {sources[path]} and {name} both stand for {path}")
        sources[path], values[path] = name, our_layout(name, np.asarray(tensors[name]))
    variables = {variable.path: variable for variable in model.variables if "seed_generator" not in variable.path}
    fold_scales(values, set(variables))
    values = {path: _without_unit_axes(value, variables.get(path)) for path, value in values.items()}
    _check(model.name, sources, values, variables)
    for path, variable in variables.items():
        variable.assign(values[path])


def our_name(name: str, renames: Iterable[tuple[str, str]]) -> str:
    """A reference's tensor name under our table.

    >>> our_name("head.fc.weight", [(r"^head[.]fc", "logits"), (r"[.]weight$", "/kernel")])
    'logits/kernel'
    """
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def our_layout(name: str, tensor: np.ndarray) -> np.ndarray:
    """PyTorch's (O, I, …) to Keras's (…, I, O); TensorFlow's tensors, whose names have a slash, as they are."""
    if "/" in name or tensor.ndim < 2:
        return tensor
    return np.moveaxis(tensor, (1, 0), (-2, -1))


def fold_scales(values: dict[str, np.ndarray], wanted: set[str]) -> None:
    """Multiply every `X_bn/gamma` that is not wanted into `X_conv/kernel` and `X_bn/moving_mean`, in place."""
    for path in [path for path in values if path.endswith("_bn/gamma") and path not in wanted]:
        unit = path.removesuffix("_bn/gamma")
        kernel, mean = f"{unit}_conv/kernel", f"{unit}_bn/moving_mean"
        if kernel in values and mean in values and values[kernel].shape[-1:] == values[path].shape:
            scale = values.pop(path).astype(np.float64)
            values[kernel] = values[kernel] * scale
            values[mean] = values[mean] * scale


def read_checkpoint(path: Path | str) -> dict[str, np.ndarray]:
    """Every variable of a TensorFlow checkpoint, `<path>.index` and `<path>.data-*`, by name.

    `path` may also be one of these files. Raises UserError for a missing or a damaged one.
    """
    prefix = _checkpoint_files(path)[0].with_suffix("")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
    except (tf.errors.OpError, LookupError, ValueError, RuntimeError) as problem:
        raise UserError(f"cannot read the checkpoint {prefix}: {first_line(problem)}") from None


def checkpoint_digest(path: Path | str) -> str:
    """64 hex digits that stand for a checkpoint's files."""
    listed = "".join(sha256_of(file) for file in _checkpoint_files(path))
    return hashlib.sha256(listed.encode()).hexdigest()


def _checkpoint_files(path: Path | str) -> list[Path]:
    """[prefix.index, prefix.data-00000-of-…, …]"""
    prefix = Path(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path)))
    data = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*"))
    files = [prefix.with_name(f"{prefix.name}.index"), *data]
    if not files[0].is_file() or not data:
        missing = f"{prefix.name}.index" if not files[0].is_file() else f"{prefix.name}.data-*"
        raise UserError(f"there is no checkpoint {prefix}: {missing} is missing")
    return files


def _without_unit_axes(value: np.ndarray, variable) -> np.ndarray:
    """Some files keep a vector as (1, 1, 1, 1, C)."""
    if variable is not None and len(variable.shape) == 1 and value.shape == (1,) * (value.ndim - 1) + variable.shape:
        return value.reshape(variable.shape)
    return value


def _check(name: str, sources: Mapping, values: Mapping, variables: Mapping) -> None:
    """Raise the ValueError of `load_reference_weights`."""
    unused = [sources[path] for path in values if path not in variables]
    missing = [path for path in variables if path not in values]
    shapes = [
        f"{sources[path]} has shape {values[path].shape}, {path} has {tuple(variables[path].shape)}"
        for path in values
        if path in variables and values[path].shape != tuple(variables[path].shape)
    ]
    problems = [
        f"{len(found)} {what}: {_some(found)}"
        for what, found in (
            ("tensors are of no use", unused),
            ("variables get no tensor", missing),
            ("shapes differ", shapes),
        )
        if found
    ]
    if problems:
        raise UserError(f"these weights do not fit {name}: " + "; ".join(problems))


def _some(names: Iterable[str], limit: int = 10) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def first_line(problem: Exception) -> str:
    """The line of an error that says something, in at most 200 characters; the error's name where none does."""
    lines = (re.sub(r"\x1b\[\d*m|{{.*?}} ?", "", line).strip() for line in str(problem).splitlines())
    told = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return (told or [type(problem).__name__])[0].split(" for '")[0][:200]  # TensorFlow goes on with a node
