"""Models by name, by file and by address: `load_model("demo")(frames)`."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from vidbench.data.datasets.registry import ROOT
from vidbench.machine import stderr_held
from vidbench.utils import UserError, unknown

try:
    with stderr_held():  # TensorFlow's start-up lines would bury ours
        import keras
        import tensorflow  # noqa: F401  on another backend Keras does not import it
except ModuleNotFoundError as missing:
    if missing.name not in ("jax", "torch", "openvino"):
        raise
    raise UserError(
        f"Keras's backend {missing.name} is not here; KERAS_BACKEND=jax needs: pip install -e .[jax]"
    ) from None

from vidbench.models import hub
from vidbench.models.classifier import Classifier, gflop, network_classifier
from vidbench.models.exported import is_exported, load_exported
from vidbench.models.files import load_file, save_model
from vidbench.models.published import load_architecture
from vidbench.models.registry import ARCHITECTURES, find_architecture
from vidbench.models.savedmodel import load_folder
from vidbench.models.spec import Published, Spec, read_spec
from vidbench.models.torchfile import is_torch_file
from vidbench.models.weights import load_reference_weights
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
    "spec_of",
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
    build = find_architecture(name).build
    if num_classes < 1:
        raise UserError(f"a model needs at least 1 class, got {num_classes}")
    known = list(inspect.signature(build).parameters)[1:]
    if unknown_ones := [option for option in options if option not in known]:
        raise unknown(f"option of {name}", unknown_ones[0], known)
    return build(num_classes, **options)


def spec_of(name: str) -> Spec:
    """The contract of a name of `available_models`: of an architecture, with its first published weights' classes,
    protocol and accuracies (`--weights kinetics400`), where there are such.

    Raises UserError for an unknown name.
    """
    if name in FILES:
        return read_spec(FILES[name].with_suffix(".json"), FILES[name])
    if name in hub.HANDLES:
        return hub.module_spec(name)
    if name not in ARCHITECTURES:
        raise unknown("model", name, available_models())
    return ARCHITECTURES[name].spec(next(iter(ARCHITECTURES[name].weights.values()), None))


def load_model(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
    precision: str = "float32",
    value_range: tuple[float, float] | None = None,
) -> Classifier:
    """A classifier ready for pixels: by name, from a `.keras` file, a SavedModel folder, an `.onnx` file, an OpenVINO
    model's folder or `.xml`, or by hub address.

    weights: for an architecture: the name of published ones ("kinetics400", fetched once), or a file of one's own:
        `.keras`, PyTorch's (`.pth`, `.pyth`, `.ckpt`), a TensorFlow checkpoint (`…/model.ckpt`) or TF-Hub module
    classes: names in the order of the outputs, for files without a spec or instead of the spec's
    precision: "float32" or "bfloat16"; ONNX and OpenVINO run in float32
    value_range: what pixels 0 and 255 are taken to, instead of the spec's

    Raises UserError for an unknown name, a missing or damaged file, weights that do not fit, no network.
    """
    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    name, path = str(name_or_path), Path(name_or_path)
    options = {"classes": classes, "precision": precision, "value_range": value_range}
    if name in ARCHITECTURES:
        return load_architecture(ARCHITECTURES[name], weights, ROOT, **options)
    known = name in FILES or name in hub.HANDLES or path.exists() or path.parent != Path()
    if weights is not None and not known:
        raise unknown("architecture", name, ARCHITECTURES)
    if weights is not None:
        raise UserError(f"{name} brings its own weights; weights go with {', '.join(sorted(ARCHITECTURES))}")
    if name in FILES:
        return load_file(FILES[name], **options)
    if name in hub.HANDLES:
        return hub.load_module(name, ROOT, **options)
    if name.startswith(("http://", "https://")):
        return hub.load_handle(name, ROOT, **options)
    if path.suffix == ".keras":
        return load_file(path, **options)
    if is_exported(path):
        return load_exported(path, **options)
    if path.is_dir():
        return load_folder(path, **options)
    if path.is_file() and is_torch_file(path):
        raise UserError(f"{name} is a weight file: give --model ARCHITECTURE --weights {name}")
    if path.is_file():
        raise UserError(f"{name} is neither a .keras file nor a SavedModel folder, an .onnx file or an OpenVINO folder")
    if path.parent != Path():
        raise UserError(f"there is no model file or folder {name}")
    raise unknown("model", name, available_models())
