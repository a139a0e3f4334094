"""Weights that others trained: reference names → our variables, and reading TensorFlow checkpoints.

An architecture says how a reference calls its layers with one table of renames, in its own file. The rest, layouts and
the names of a layer's variables, follows from the shapes and the names alone.
"""

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidbench.models.registry import ARCHITECTURES
from vidbench.utils import UserError, sha256_of

HEAD = "logits"  # the layers that make logits of features, in every architecture, have names that begin so
LEAVES = {"running_mean": "moving_mean", "running_var": "moving_variance"}
NORM_LEAVES = {"weight": "gamma", "bias": "beta", **LEAVES}
OTHER_LEAVES = {"weight": "kernel", **LEAVES}


def count_classes(name: str, tensors: Mapping[str, np.ndarray]) -> int:
    """How many classes a reference's tensors for architecture `name` tell apart: the length of the last bias."""
    for tensor, value in tensors.items():
        if re.fullmatch(rf"{HEAD}\w*/bias", our_path(tensor, tensors, _renames(name))):
            return len(value)
    raise UserError(f"these weights hold no last layer that {name} knows: is it another model's file?")


def load_reference_weights(model, tensors: Mapping[str, np.ndarray], skip_head: bool = False) -> None:
    """Assign a reference's tensors to the variables of `model`, a Keras model of `build_model`.

    Names without a slash are PyTorch's and come in its layout, (O, I, T, H, W) or (O, I); names with one are
    TensorFlow's. Batch counters (`num_batches_tracked`) are dropped. A batch-norm scale that our layer lacks is
    folded into the kernel before it: s · (conv(x) - mean) / std = (s·conv(x) - s·mean) / std.

    skip_head: leave the last layer as it is, for other classes than the reference's

    Raises ValueError, before any variable has changed, that names every tensor of no use, every variable without
    a tensor and every wrong shape.
    """
    renames = _renames(model.name)
    sources, values = {}, {}
    for name in tensors:
        path = our_path(name, tensors, renames)
        if name.endswith("num_batches_tracked") or (skip_head and path.startswith(HEAD)):
            continue
        if path in sources:
            raise UserError(f"{model.name}: the tensors {sources[path]} and {name} both stand for {path}")
        sources[path], values[path] = name, our_layout(name, np.asarray(tensors[name]))
    variables = {variable.path: variable for variable in model.variables if "seed_generator" not in variable.path}
    if skip_head:
        variables = {path: variable for path, variable in variables.items() if not path.startswith(HEAD)}
    fold_scales(values, set(variables))
    values = {path: _without_unit_axes(value, variables.get(path)) for path, value in values.items()}
    _check(model.name, sources, values, variables)
    for path, variable in variables.items():
        variable.assign(values[path])


def our_path(name: str, names: Iterable[str], renames: Iterable[tuple[str, str]]) -> str:
    """The variable, `<layer>/<variable>`, that a reference's tensor `name`, one of `names`, stands for.

    The table is applied to a PyTorch name without its last part, which says which variable of the layer it is:

    >>> our_path("head.fc.weight", ["head.fc.weight"], [(r"^head[.]fc$", "logits")])
    'logits/kernel'
    >>> our_path("1.bias", ["1.weight", "1.bias", "1.running_mean"], [(r"^1$", "stem_bn")])
    'stem_bn/beta'
    """
    if "/" in name:
        return our_name(name, renames)
    layer, _, leaf = name.rpartition(".")
    leaves = NORM_LEAVES if f"{layer}.running_mean" in names else OTHER_LEAVES
    return f"{our_name(layer, renames)}/{leaves.get(leaf, leaf)}"


def our_name(name: str, renames: Iterable[tuple[str, str]]) -> str:
    """A reference's name under a table of (regular expression, replacement), applied in its order.

    >>> our_name("layer1.0", [(r"[.]", "_"), (r"^layer", "stage")])
    'stage1_0'
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


def _renames(name: str) -> tuple[tuple[str, str], ...]:
    renames = ARCHITECTURES[name].renames if name in ARCHITECTURES else ()
    if not renames:
        known = [known for known, found in ARCHITECTURES.items() if found.renames]
        raise UserError(f"no reference names are known for {name!r}, only for {_some(known, 20)}")
    return renames


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
        f"{len(found)} {what}: {_some(found, 3 if found is shapes else 10)}"
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
