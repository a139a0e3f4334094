"""Processes that decode and can be killed: one bad video must never end, hang or kill a run."""

import multiprocessing
import multiprocessing.popen_forkserver
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
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
from vidbench.data.staging import staging
from vidbench.machine import peak_memory_mb

IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Task:
    """Everything a worker needs to load one video."""

    video: Video
    protocol: Protocol
    frames_fps: float = 25.0
    cache_dir: Path | None = None
    overwrite_cache: bool = False
    cache_max_bytes: int | None = None
    handover: Path | None = None  # a folder in memory, through which a clip that is not cached goes to the main process


@dataclass(frozen=True, eq=False)
class Done:
    """A worker's answer: the clip, or the file that it lies in."""

    clip: Decoded | None
    cached: Path | None = None
    passed: Path | None = None  # a file for the main process alone, which removes it
    problem: str | None = None  # why the clip is not cached
    hit: bool = False  # it was cached before
    evicted_bytes: int = 0  # of older clips, to make room
    cpu_seconds: float = 0.0  # that the worker took for it
    peak_memory_mb: int = 0  # of the worker so far

    def opened(self) -> "Done":
        """The same with its clip, memory-mapped; without one where its file is gone."""
        if self.clip is not None:
            return self
        clip = cache.read_clip(self.cached or self.passed, verify=False)
        if self.passed:
            self.passed.unlink(missing_ok=True)
        return replace(self, clip=clip)


def load_clip(task: Task) -> Done:
    """Load one video from the cache, else decode it and cache it. Raises DecodeError with the reason."""
    cv2.setNumThreads(1)  # the workers are the parallelism
    began = time.process_time()
    done = _load(task)
    if done.clip is not None and task.handover:
        done = _pass_on(done, task.handover)
    return replace(done, cpu_seconds=time.process_time() - began, peak_memory_mb=peak_memory_mb())


def _pass_on(done: Done, folder: Path) -> Done:
    """The clip as a file in memory, which costs half of what a pipe does; as it is where there is no room."""
    path = folder / f"{uuid.uuid4().hex}.npy"
    try:
        cache.write_clip(path, done.clip, checksum=False)
    except OSError:
        return done
    return replace(done, clip=None, passed=path)


def _load(task: Task) -> Done:
    if task.cache_dir is None:
        return Done(_decode(task))
    if not task.video.path.is_dir():
        check_file(task.video.path)
    key = cache.cache_key(task.video, task.protocol, task.frames_fps, task.cache_dir)
    path = cache.cache_path(task.cache_dir, key)
    if not task.overwrite_cache and cache.read_clip(path) is not None:
        return Done(None, path, hit=True)
    clip = _decode(task)
    try:
        evicted = cache.write_clip(path, clip, task.cache_max_bytes)
        if task.video.path.is_file() and task.video.start_seconds is None and task.video.end_seconds is None:
            cache.Index(task.cache_dir).remember_info(task.video.path, clip.info)
    except OSError as problem:  # a full disk must not cost a result
        return Done(clip, problem=f"{task.cache_dir}: {problem.strerror or problem}")
    return Done(None, path, evicted_bytes=evicted)


def _decode(task: Task) -> Decoded:
    return decode(
        task.video.path,
        task.protocol.indices,
        lambda frame: process_frame(np.ascontiguousarray(frame), task.protocol),
        start_seconds=task.video.start_seconds,
        end_seconds=task.video.end_seconds,
        frames_fps=task.frames_fps,
        thorough=False,
    )


@contextmanager
def folder_in_memory() -> Iterator[Path | None]:
    """A folder for files that never reach a disk, gone after the block; None where there is none (macOS).

    What a killed process left in one goes when the next is asked for.
    """
    root = IN_MEMORY / f"vidbench-{os.getuid()}"
    with ExitStack() as stack:
        folder = None
        with suppress(OSError):
            root.mkdir(mode=0o700, exist_ok=True)
            folder = stack.enter_context(staging(root))
        yield folder


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
