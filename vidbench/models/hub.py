"""Models of TensorFlow Hub by name or address: from the disk, else through tfhub.dev, else through Kaggle."""

import contextlib
import hashlib
import urllib.error
import urllib.request
import warnings
from dataclasses import replace
from pathlib import Path

from vidbench.models.classifier import Classifier
from vidbench.models.i3d import WEIGHTS
from vidbench.models.registry import ARCHITECTURES
from vidbench.models.savedmodel import load_folder, load_saved_model
from vidbench.models.spec import Spec
from vidbench.models.weights import first_line
from vidbench.utils import UserError

HANDLES = {  # name → (TF-Hub, Kaggle); that 600 is called like 400 on Kaggle is an assumption
    f"i3d-kinetics-{version}": (
        f"https://tfhub.dev/deepmind/i3d-kinetics-{version}/1",
        f"deepmind/i3d-kinetics/tensorFlow1/{version}/1",
    )
    for version in (400, 600)
}
MODULE_RANGE = (0.0, 1.0)
PROBE_SECONDS = 5


def load_module(name: str, root: Path, classes=None, precision: str = "float32", value_range=None) -> Classifier:
    """One of `HANDLES`, from `root/data/models/<name>/` or fetched; see `find_module` and `load_saved_model`.

    Whether the modules want pixels in 0…1 or in -1…1 is disputed (google-research#1974): their users feed 0…1,
    which is taken here; `value_range` says otherwise.
    """
    folder = find_module(name, placed_at(name, root))
    return load_saved_model(folder, module_spec(name).adapted(classes, value_range), precision)


def placed_at(name: str, root: Path) -> Path:
    """Where the files of a module of `HANDLES` can be placed by hand."""
    return root / "data" / "models" / name


def module_spec(name: str) -> Spec:
    """The contract of a module of `HANDLES`: that of the weights in it, but pixels are taken to 0…1."""
    weights = next(weights for weights in WEIGHTS.values() if weights.address == name)
    return replace(ARCHITECTURES["i3d"].spec(weights), name=name, value_range=MODULE_RANGE)


def find_module(name: str, placed: Path) -> Path:
    """The folder of a module of `HANDLES`: `placed` if it is there, else fetched.

    Raises UserError that says where to place the files by hand when nothing can be reached.
    """
    tfhub, kaggle = HANDLES[name]
    if (folder := _module_folder(placed)) is not None:
        return folder
    failures = []
    for label, fetch, handle in (("tfhub.dev", fetch_tfhub, tfhub), ("Kaggle", fetch_kaggle, kaggle)):
        try:
            folder = _module_folder(fetch(handle))
        except Exception as problem:  # both libraries raise what their transports raise
            failures.append(f"{label}: {first_line(problem)}")
        else:
            if folder is not None:
                return folder
            failures.append(f"{label}: no saved_model.pb in what came")
    page = f"https://www.kaggle.com/models/deepmind/i3d-kinetics/tensorFlow1/{name.rpartition('-')[2]}/1"
    raise UserError(
        f"{name} could not be fetched ({'; '.join(failures)}). To place it by hand, download {page} where there is "
        f"a network and unpack it so that {placed / 'saved_model.pb'} exists"
    )


def load_handle(url: str, root: Path, classes=None, precision: str = "float32", value_range=None) -> Classifier:
    """Any TF-Hub handle or address of a packed SavedModel; those of `HANDLES` are known by theirs."""
    for name, (tfhub, kaggle) in HANDLES.items():
        if url.rstrip("/") in (tfhub, f"https://www.kaggle.com/models/{kaggle}"):
            return load_module(name, root, classes, precision, value_range)
    try:
        folder = fetch_tfhub(url)
    except Exception as problem:  # whatever the transport raises
        raise UserError(f"{url} could not be fetched ({first_line(problem)})") from None
    return load_folder(folder, classes, precision, value_range)


def fetch_tfhub(handle: str) -> Path:
    """The folder of a TF-Hub handle, out of TensorFlow Hub's cache (TFHUB_CACHE_DIR) or over the network."""
    with warnings.catch_warnings():  # it imports pkg_resources, which warns of its own end
        warnings.simplefilter("ignore")
        import tensorflow_hub as hub
    from tensorflow_hub.resolver import tfhub_cache_dir

    cached = Path(tfhub_cache_dir(use_temp=True)) / hashlib.sha1(handle.encode()).hexdigest()
    if not cached.is_dir():
        probe(handle)
    return Path(hub.resolve(handle))


def fetch_kaggle(handle: str) -> Path:
    """The folder of a Kaggle model, out of kagglehub's cache or over the network."""
    import kagglehub
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_model_handle

    if Cache().load_from_cache(parse_model_handle(handle)) is None:
        probe("https://api.kaggle.com")
    return Path(kagglehub.model_download(handle))


def probe(url: str) -> None:
    """Raise OSError within seconds where nothing answers, which the downloaders would take minutes to see."""
    with contextlib.suppress(urllib.error.HTTPError):  # an answer, if only "no": the downloader shall have its try
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()


def _module_folder(path: Path) -> Path | None:
    """`path`, or the folder in it, that holds a saved_model.pb."""
    found = [file.parent for pattern in ("saved_model.pb", "*/saved_model.pb") for file in sorted(path.glob(pattern))]
    return found[0] if found else None
