"""What Keras's backend, TensorFlow or JAX, may use of this machine, and in which precision it can calculate."""

import logging
from pathlib import Path

import keras
import tensorflow as tf

from vidbench.machine import stderr_held, usable_cpus
from vidbench.utils import UserError

PRECISIONS = ("float32", "bfloat16", "int8")
RUNTIMES = {  # what each calculates in; ONNX Runtime has no bfloat16 on CPUs
    "tensorflow": ("float32", "bfloat16"),
    "jax": ("float32", "bfloat16"),
    "openvino": PRECISIONS,
    "onnxruntime": ("float32", "int8"),
}
ARITHMETIC = {  # the processor's words for instructions without which a precision gains nothing
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"),
}

log = logging.getLogger(__name__)


def use_all_cpus() -> None:
    """Give TensorFlow as many threads as this process has processors; too late once TensorFlow has started."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(usable_cpus())
        tf.config.threading.set_inter_op_parallelism_threads(usable_cpus())
    except RuntimeError:
        log.debug("TensorFlow has already started; its threads stay as they are")


def hide_gpus() -> None:
    """Run on the CPU even where there is a GPU; too late once one was used."""
    if on_jax():
        import jax

        jax.config.update("jax_platforms", "cpu")
    try:
        with stderr_held():
            tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        log.warning("TensorFlow has already started on a GPU; it stays there")


def device_name() -> str:
    """What Keras's backend runs on: "CPU", or the first GPU's name."""
    if on_jax():
        import jax

        device = jax.devices()[0]
        return "CPU" if device.platform == "cpu" else device.device_kind
    with stderr_held():  # where there is no GPU, CUDA complains
        gpus = tf.config.get_visible_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"


def on_jax() -> bool:
    """Whether Keras runs on JAX (KERAS_BACKEND=jax)."""
    return keras.backend.backend() == "jax"


def check_precision(precision: str, runtime: str = "tensorflow") -> None:
    """Raise UserError for a precision that is unknown or that a runtime has not."""
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision not in RUNTIMES[runtime]:
        others = " or ".join(name for name, known in RUNTIMES.items() if precision in known)
        raise UserError(f"{runtime} does not run in {precision}: choose the runtime {others}")


def warn_without_gain(precision: str, runtime: str = "tensorflow") -> None:
    """Log a warning where this CPU has no arithmetic of a precision, and a model would run in it here."""
    on_cpu = runtime in ("openvino", "onnxruntime") or device_name() == "CPU"
    if on_cpu and not has_arithmetic(precision):
        log.warning("this CPU has no %s arithmetic: %s will hardly be faster than float32, or slower", *[precision] * 2)


def has_arithmetic(precision: str, cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies in a precision: bfloat16 by AVX512-BF16 or AMX, int8 by VNNI or AMX.

    False where nothing tells, True for float32.
    """
    if precision not in ARITHMETIC:
        return True
    try:
        words = set(cpu_info.read_text().split())
    except OSError:
        return False
    return bool(words & set(ARITHMETIC[precision]))
