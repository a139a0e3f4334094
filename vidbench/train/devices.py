"""Which devices and processes share the work: GPUs of one host, processes of several."""

import contextlib
import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from vidbench.arguments import TrainSettings
from vidbench.machine import stderr_held
from vidbench.runtimes import hide_gpus, on_jax, use_all_cpus
from vidbench.train.plan import Plan
from vidbench.utils import UserError

log = logging.getLogger(__name__)
AUTO = "auto"  # as a coordinator's address: JAX asks SLURM, Open MPI or Kubernetes


class Devices:
    """What a run has: use as a context manager around the making of networks and optimisers.

    part: (i, n), this process among all; count: devices that share a batch; strategy: TensorFlow's, where it is used
    """

    def __init__(self, part: tuple[int, int] = (0, 1), count: int = 1, strategy=None):
        self.part, self.count, self.strategy = part, count, strategy

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's folder."""
        return self.part[0] == 0

    def scope(self):
        """The scope in which variables are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    @property
    def gather(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function that adds an array up over all processes."""
        return (lambda sums: sums) if self.part[1] == 1 else _sum_over_processes

    def wait(self, where: str) -> None:
        """Go on when all processes are here."""
        if self.part[1] > 1:
            from jax.experimental import multihost_utils

            try:
                multihost_utils.sync_global_devices(where)
            except Exception as problem:  # JAX's runtime error, after its timeout
                raise UserError(f"another process did not come along ({where}): see what it said") from problem

    def leave(self) -> None:
        """Part from the other processes: what is left is the first one's work, and may take long."""
        if self.part[1] > 1:
            import jax

            jax.distributed.shutdown()

    def check(self, plan: Plan, probe: bool = False) -> None:
        """Raise UserError unless these devices can do what the plan asks for."""
        if probe and self.part[1] > 1:
            raise UserError("--probe runs in one process")
        if plan.batch_size % self.count:
            raise UserError(f"--batch-size {plan.batch_size} cannot be shared out among {self.count} devices evenly")
        if self.strategy and (plan.accumulate > 1 or plan.clip_norm):  # Keras would clip on each GPU, before the sum
            raise UserError("--accumulate and --clip-norm go with several GPUs on JAX alone: KERAS_BACKEND=jax")


def find_devices(settings: TrainSettings) -> Devices:
    """This run's devices; joins the other processes first where there are some.

    Raises UserError for several processes on TensorFlow, and where the others do not come.
    """
    if not settings.cuda:
        hide_gpus()
    use_all_cpus()
    if settings.coordinator and not on_jax():
        raise UserError("several processes train on JAX: start each with KERAS_BACKEND=jax")
    if on_jax():
        return _jax_devices(settings)
    with stderr_held():  # where there is no GPU, CUDA complains
        gpus = tf.config.get_visible_devices("GPU")
    if len(gpus) < 2:
        return Devices()
    return Devices(count=len(gpus), strategy=tf.distribute.MirroredStrategy())


def _jax_devices(settings: TrainSettings) -> Devices:
    import jax

    if settings.coordinator:
        address = None if settings.coordinator == AUTO else settings.coordinator
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # for processes without a GPU
        try:
            jax.distributed.initialize(address, settings.num_processes, settings.process_id)
        except (ValueError, RuntimeError) as problem:
            raise UserError(f"the processes do not find each other: {str(problem).splitlines()[0]}") from None
        log.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())
    return Devices((jax.process_index(), jax.process_count()), jax.device_count())


def _sum_over_processes(sums: np.ndarray) -> np.ndarray:
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(sums, np.float32))).sum(axis=0)
