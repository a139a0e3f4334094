"""What the tables share: clocks, the machine, networks with random weights."""

import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vidbench.data.classes import kinetics_classes
from vidbench.report import environment
from vidbench.utils import UserError


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def interleaved(runs: Mapping[str, Callable[[], object]], num_rounds: int) -> list[dict[str, float]]:
    """Seconds of each of `runs` in each of the rounds, after one call of each that is not timed (traced, warm)."""
    for run in runs.values():
        run()
    return [{name: seconds(run) for name, run in runs.items()} for _ in range(num_rounds)]


def check_clips(clips: Iterable[Path]) -> None:
    """Raise UserError for a video file that is not there."""
    if missing := [clip for clip in clips if not clip.is_file()]:
        raise UserError(f"no such clip: {missing[0]}")


def run_script(words: Sequence[str]) -> str:
    """What Python prints when it is started with `words`, as a process of its own. Raises UserError where it fails."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise UserError(f"{' '.join(words)}: {said[-1].removeprefix('error: ')}")
    return done.stdout


def matrix_product_peak(precision: str = "float32", size: int = 2048) -> float:
    """10⁹ operations a second of the best of a few products of two square matrices on Keras's backend, here and now."""
    import keras

    factor = keras.ops.cast(keras.random.normal((size, size), seed=0), precision)

    def product():
        keras.ops.convert_to_numpy(keras.ops.matmul(factor, factor)[:1, :1])  # waits for it

    product()
    return 2 * size**3 / min(seconds(product) for _ in range(7)) / 1e9


def machine() -> str:
    """What the figures were measured on."""
    from vidbench.runtimes import device_name, on_jax

    facts = environment()
    device = facts["cpu"] if device_name() == "CPU" else device_name()
    library = "jax" if on_jax() else "tensorflow"
    version = importlib.metadata.version(library)
    return f"{device}, {facts['usable_cpus']} processors, {library} {version}, commit {facts['commit']}"


def random_classifiers(name: str) -> dict:
    """An architecture with random weights, as a classifier in each precision of TensorFlow."""
    from vidbench.models import build_model, network_classifier
    from vidbench.models.registry import find_architecture
    from vidbench.runtimes import RUNTIMES, device_name, use_all_cpus

    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    classes = kinetics_classes("400")
    network = build_model(name, len(classes))
    spec = find_architecture(name).spec(classes=classes)
    return {precision: network_classifier(network, spec, precision) for precision in RUNTIMES["tensorflow"]}


def random_model(name: str, num_frames: int, folder: Path) -> Path:
    """An architecture with random weights, saved with the spec that a run needs."""
    from vidbench.models import build_model, save_model
    from vidbench.models.registry import find_architecture
    from vidbench.runtimes import device_name

    device_name()  # the first look for a GPU talks; it is held back there
    classes = kinetics_classes("400")
    network = build_model(name, len(classes))
    spec = replace(find_architecture(name).spec(classes=classes), name="random", domain="nothing: random weights")
    spec = spec.with_protocol(spec.protocol.override(num_frames=num_frames))
    save_model(network, folder / "random.keras", spec)
    return folder / "random.keras"
