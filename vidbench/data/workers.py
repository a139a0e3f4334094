"""Processes that decode and can be killed: one bad video must never end, hang or kill a run."""

import multiprocessing
import multiprocessing.popen_forkserver
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from pebble import ProcessPool

from vidbench.data import cache
from vidbench.data.decode import Decoded, decode
from vidbench.data.integrity import check_file
from vidbench.data.process import process_frame
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.machine import peak_memory_mb


@dataclass(frozen=True)
class Task:
    """Everything a worker needs to load one video."""

    video: Video
    protocol: Protocol
    frames_fps: float = 25.0
    cache_dir: Path | None = None
    overwrite_cache: bool = False


@dataclass(frozen=True, eq=False)
class Done:
    """A worker's answer: the clip, or where in the cache it lies; `problem` says why it is not cached."""

    clip: Decoded | None
    cached: Path | None = None
    problem: str | None = None
    peak_memory_mb: int = 0  # of the worker so far


def load_clip(task: Task) -> Done:
    """Load one video from the cache, else decode it and cache it. Raises DecodeError with the reason."""
    cv2.setNumThreads(1)  # the workers are the parallelism
    clip, path, problem = _load(task)
    return Done(clip, path, problem, peak_memory_mb())


def _load(task: Task) -> tuple[Decoded | None, Path | None, str | None]:
    if task.cache_dir is None:
        return _decode(task), None, None
    if not task.video.path.is_dir():
        check_file(task.video.path)
    key = cache.cache_key(task.video, task.protocol, task.frames_fps, task.cache_dir)
    path = cache.cache_path(task.cache_dir, key)
    if not task.overwrite_cache and cache.read_clip(path) is not None:
        return None, path, None
    clip = _decode(task)
    try:
        cache.write_clip(path, clip)
        if task.video.path.is_file() and task.video.start_seconds is None and task.video.end_seconds is None:
            cache.Index(task.cache_dir).remember_info(task.video.path, clip.info)
    except OSError as problem:  # a full disk must not cost a result
        return clip, None, f"{task.cache_dir}: {problem.strerror or problem}"
    return None, path, None


def _decode(task: Task) -> Decoded:
    return decode(
        task.video.path,
        task.protocol.indices,
        lambda frame: process_frame(np.ascontiguousarray(frame), task.protocol),
        start_seconds=task.video.start_seconds,
        end_seconds=task.video.end_seconds,
        frames_fps=task.frames_fps,
    )


def worker_pool(workers: int) -> ProcessPool:
    """A pool of `workers` clean processes; a task that runs over its timeout is killed with its process.

    The processes come from a fork server that has imported this module and nothing else: no TensorFlow, no
    threads, none of the caller's own script (which therefore needs no `if __name__ == "__main__"` guard).
    """
    context = _Context()
    context.set_forkserver_preload([__name__])
    return ProcessPool(max_workers=workers, context=context)


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process):
        with _main_hidden(), _interrupts_blocked():
            return multiprocessing.popen_forkserver.Popen(process)


class _Context(ForkServerContext):
    Process = _Process


@contextmanager
def _interrupts_blocked():
    """Ctrl-C goes to a terminal's whole group; a process that begins in this block never sees it, its parent does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_hiding = threading.Lock()


@contextmanager
def _main_hidden():
    """Keep multiprocessing from importing the caller's script in the new process while it is started."""
    with _hiding:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
