"""Ray, started here or found elsewhere, and how many model workers its nodes can hold."""

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from vidbench.arguments import EvaluateSettings
from vidbench.machine import usable_cpus
from vidbench.utils import UserError, extra_module

ANSWER_SECONDS = 5.0  # in which the head of a cluster must take a connection
ATTEMPTS = 3  # to start Ray here: it gives up where a busy machine needs more than 15 s for one of its processes
MOST_CPUS = 8  # of one model worker and its decoding, by default: one clip at a time gains little from more
LOOPBACK_ALONE = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # what Ray does there by default; no option says it

log = logging.getLogger(__name__)


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """`ray`, connected: to a Ray that is started here, on loopback alone, for None; else to the cluster at `address`.

    address: "auto" (the cluster that this machine belongs to) or HOST:PORT of its head. A connection that the process
    has already is used, and left open. Raises UserError where Ray is not installed, or no cluster answers.
    """
    check_cluster(address)
    if address is None:
        os.environ.setdefault(*LOOPBACK_ALONE)  # read when Ray is imported, and by the processes that it starts
    ray = extra_module("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    for attempt in range(ATTEMPTS):
        try:
            _connect(ray, address)
            break
        except Exception as problem:  # Ray raises its own, RuntimeError, ConnectionError and plain Exception
            ray.shutdown()
            if address is None and attempt < ATTEMPTS - 1:
                continue
            where = f"no Ray cluster at {address}" if address else "Ray does not start here"
            raise UserError(f"{where}: {' '.join(str(problem).split())[:200]}") from None
    try:
        listening = {node["NodeManagerAddress"] for node in ray.nodes()}
        if address is None and listening != {"127.0.0.1"}:
            log.warning("Ray was imported before: it listens on %s", ", ".join(sorted(listening)))
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        processors = max(2, usable_cpus())  # one for the model, one for decoding
        ray.init("local", num_cpus=processors, include_dashboard=False, **quiet)
    else:
        ray.init(address, **quiet)


def check_cluster(address: str | None) -> None:
    """Raise UserError where Ray is not installed, or nothing listens at HOST:PORT: Ray itself would try for minutes."""
    if importlib.util.find_spec("ray") is None:  # not imported yet: see LOOPBACK_ALONE
        extra_module("ray", "ray")
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as problem:
        raise UserError(f"no Ray cluster at {address}: {problem.strerror or problem}") from None


@dataclass(frozen=True)
class Room:
    """What the nodes can hold. cpus, gpus: of one model worker; workers: how many; decoders: decoding tasks at once."""

    nodes: int
    cpus: int
    gpus: int
    workers: int
    decoders: int


def room(nodes: list[dict], settings: EvaluateSettings) -> Room:
    """How the processors of the living nodes, as `ray.nodes()` lists them, are shared out.

    By default each model worker has a decoding task beside it, on a processor of its own (those with a GPU share what
    is left), and a worker has a GPU where there is one. What the settings say goes before.
    """
    sizes = [
        (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in nodes
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    total = sum(cpus for cpus, _ in sizes)
    gpus = settings.gpus_per_worker
    if gpus is None:
        gpus = int(settings.cuda and any(held for _, held in sizes))
    usual = 1 if gpus else max(1, min(MOST_CPUS, max((cpus for cpus, _ in sizes), default=1)) - 1)
    each = settings.cpus_per_worker or usual
    hold = sum(min(cpus // each, held // gpus) if gpus else cpus // each for cpus, held in sizes)
    fair = (total - 1) // each if gpus or settings.model_workers else total // (each + 1)
    workers = min(hold, fair, settings.model_workers or hold)
    return Room(len(sizes), each, gpus, workers, settings.workers or max(1, total - workers * each))
