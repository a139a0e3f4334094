"""The driver: hands videos out to the nodes, takes what comes back, and hands lost ones out again."""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidbench.arguments import EvaluateSettings
from vidbench.cluster.session import connected, room
from vidbench.cluster.workers import ModelWorker, contract, decode_video
from vidbench.data.load import Failure, Sample
from vidbench.data.records import Video
from vidbench.predict import Outcome, Prediction
from vidbench.results import differences
from vidbench.utils import UserError

if TYPE_CHECKING:
    from vidbench.models import Classifier

LOSSES = 3  # of its worker, after which a video is a failure: it may be what kills them
LOOK_SECONDS = 10.0  # between two looks at the nodes: some may have come, or gone
PATIENCE_SECONDS = 60.0  # before a word about a cluster whose processors others may have taken
QUEUE = 2  # groups of clips that a model worker has: one that it computes, one that is brought

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """A video on its way. sample: without its frames, which lie in the cluster's store."""

    video: Video
    losses: int = 0
    sample: Sample | None = None
    frames: object = None


@dataclass(eq=False)
class _Worker:
    """A model worker. loading: the answer that it is ready, None once it came; running: its groups, oldest first."""

    actor: object
    loading: object
    group: int = 1  # videos at once
    running: deque = field(default_factory=deque)  # (the answer, its jobs)


class ClusterScorer:
    """Iterate over videos as they are scored, in any order; each gives a `Prediction` or a `Failure`, once.

    model: the driver's own copy, with which those of the workers must agree. Once `enough()` is true nothing more is
    handed out; what is under way is finished, so that what was scored is the beginning of the videos' order.
    A video whose worker is lost (killed, out of memory, its node gone) is handed out again, and is a failure after
    LOSSES of them; a lost model worker is replaced, and nodes that join get theirs. startup_seconds: until the model
    workers were loaded; about: nodes, model workers, their memory, {} where there was nothing to score.

    Raises UserError where Ray or the cluster is missing, its nodes cannot hold a model worker, or its model is another.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        videos: list[Video],
        model: "Classifier",
        enough: Callable[[], bool] = lambda: False,
    ):
        self.settings, self.videos, self.enough = settings, list(videos), enough
        self.protocol, self._contract = model.spec.protocol, contract(model)
        self.peak_worker_memory_mb = 0
        self.cache_problem: str | None = None
        self.cache_counts = Counter(hits=0, misses=0, evicted_bytes=0)
        self.startup_seconds = 0.0
        self.about: dict = {}

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Outcome]:
        if not self.videos:
            return
        self._began = time.perf_counter()
        with connected(self.settings.ray_address) as self._ray:
            yield from self._outcomes()

    def _outcomes(self) -> Iterator[Outcome]:
        self._waiting = deque(_Job(video) for video in self.videos)
        self._decoding: dict = {}  # a task's answer → its job
        self._decoded: deque[_Job] = deque()
        self._ready: deque[Outcome] = deque()
        self._workers: list[_Worker] = []
        self._open, self._dead_starts = False, 0
        self._patient_until = time.monotonic() + PATIENCE_SECONDS
        try:
            self._look()
            while True:
                self._decode_more()
                self._score_more()
                while self._ready:
                    yield self._ready.popleft()
                if self._is_done():
                    return
                self._wait()
        finally:
            for worker in self._workers:
                self._ray.kill(worker.actor)

    def _is_done(self) -> bool:
        running = any(worker.running for worker in self._workers)
        return not (running or self._decoding or self._decoded) and (not self._waiting or self.enough())

    # --- nodes and model workers

    def _look(self) -> None:
        """Look at the nodes, and begin as many model workers as they can hold. Raises UserError where that is none."""
        self._look_again = time.monotonic() + LOOK_SECONDS
        self._room = room(self._ray.nodes(), self.settings)
        if not self._room.workers and not self._loaded():
            gpus = f" and {self._room.gpus} GPU" if self._room.gpus else ""
            raise UserError(
                f"none of {self._room.nodes} nodes can hold a model worker of {self._room.cpus} processors{gpus} with "
                "one left for decoding: see --cpus-per-worker and --gpus-per-worker"
            )
        while len(self._workers) < self._room.workers:
            self._begin_worker()
        self.about = {
            "ray": self._ray.__version__,
            "nodes": self._room.nodes,
            "model_workers": len(self._workers),
            "peak_memory_mb": self.about.get("peak_memory_mb", 0),
        }

    def _begin_worker(self) -> None:
        import keras

        needs = {"num_cpus": self._room.cpus, "num_gpus": self._room.gpus, "scheduling_strategy": "SPREAD"}
        actor = self._ray.remote(**needs, max_restarts=0, max_task_retries=0)(ModelWorker).remote()
        processors = self._room.cpus + 1  # and that of its decoding, which is idle most of the time
        answer = actor.load.remote(self.settings, str(Path.cwd()), keras.backend.backend(), processors)
        self._workers.append(_Worker(actor, answer))

    def _loaded(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.loading is None]

    def _take_loaded(self, worker: _Worker) -> None:
        try:
            loaded = self._ray.get(worker.loading)
        except self._ray.exceptions.RayTaskError as problem:  # what `load` raised
            raise problem.cause from None
        except self._ray.exceptions.RayError as problem:
            self._dead_starts += 1
            if self._dead_starts >= LOSSES:
                raise UserError(
                    f"model workers die as they start ({type(problem).__name__}: not enough memory?)"
                ) from None
            self._lose(worker, problem)
            return
        if other := list(differences(self._contract, loaded.contract, "", "here", f"on node {loaded.node}")):
            raise UserError(f"the nodes have another model: {'; '.join(other)}")
        worker.loading, worker.group = None, max(1, loaded.clips_at_once // self.protocol.views)
        self._dead_starts = 0

    def _lose(self, worker: _Worker, problem: Exception) -> None:
        """Part from a model worker: what it computed may have killed it, the rest of its videos is not to blame."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        for place, (_, jobs) in enumerate(worker.running):
            for job in jobs:
                self._again(job, "score", problem, blamed=place == 0)
        self._look()

    # --- videos

    def _begin_decoding(self) -> None:
        self._open, self.startup_seconds = True, time.perf_counter() - self._began

    def _decode_more(self) -> None:
        """Begin to decode, as far ahead as the decoding tasks and the model workers' next groups go.

        Not before all model workers have loaded, or some did a look ago: decoding would take the room of the others.
        """
        loaded = self._loaded()
        if not self._open and len(loaded) == len(self._workers):
            self._begin_decoding()
        ahead = self._room.decoders + sum(worker.group for worker in loaded)
        decode = self._ray.remote(num_cpus=1, num_returns=2, max_retries=0, scheduling_strategy="SPREAD")(decode_video)
        while self._open and self._waiting and not self.enough():
            if len(self._decoding) >= self._room.decoders or len(self._decoding) + len(self._decoded) >= ahead:
                return
            job = self._waiting.popleft()
            if job.video.path is None:
                self._ready.append(Failure(job.video, "find", "missing file"))
                continue
            told, job.frames = decode.remote(job.video, self.protocol, self.settings, str(Path.cwd()))
            self._decoding[told] = job

    def _score_more(self) -> None:
        """Give decoded videos to the model workers, those with the least to do first.

        A GPU waits for a whole group while more are coming. A video that has lost a worker goes alone.
        """
        while self._decoded and (loaded := self._loaded()):
            worker = min(loaded, key=lambda worker: len(worker.running))
            size = 1 if self._decoded[0].losses else worker.group
            coming = self._decoding or (self._waiting and not self.enough())
            if len(worker.running) >= QUEUE or (len(self._decoded) < size and coming):
                return
            jobs = [self._decoded.popleft()]
            while len(jobs) < size and self._decoded and not self._decoded[0].losses:
                jobs.append(self._decoded.popleft())
            answer = worker.actor.score.remote([job.sample for job in jobs], *(job.frames for job in jobs))
            worker.running.append((answer, jobs))

    def _wait(self) -> None:
        """Wait for an answer, and take all that are there."""
        waited = {worker.loading: (self._take_loaded, worker) for worker in self._workers if worker.loading}
        waited |= {worker.running[0][0]: (self._take_scored, worker) for worker in self._workers if worker.running}
        waited |= {answer: (self._take_decoded, answer) for answer in self._decoding}
        answered, _ = self._ray.wait(list(waited), num_returns=1, timeout=LOOK_SECONDS)
        if answered:
            answered, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for answer in answered:
            take, what = waited[answer]
            take(what)
        if time.monotonic() > self._look_again:
            if self._loaded() and not self._open:
                self._begin_decoding()
            elif not self._loaded() and time.monotonic() > self._patient_until:
                log.warning("waiting for the cluster: no model worker is ready yet")
                self._patient_until = math.inf
            self._look()

    def _take_decoded(self, answer) -> None:
        job = self._decoding.pop(answer)
        try:
            told = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as problem:
            raise problem.cause from None
        except self._ray.exceptions.RayError as problem:
            self._again(job, "decode", problem)
            return
        self.peak_worker_memory_mb = max(self.peak_worker_memory_mb, told.peak_memory_mb)
        self.cache_problem = self.cache_problem or told.cache_problem
        self.cache_counts.update(told.cache_counts)
        item = replace(told.item, video=job.video)
        if isinstance(item, Sample):
            job.sample = item
            self._decoded.append(job)
            return
        if item.stage == "find" and job.video.path.exists():
            item = replace(item, reason=f"{item.reason} on node {told.node}: all nodes must see the same paths")
        self._ready.append(item)

    def _take_scored(self, worker: _Worker) -> None:
        answer, jobs = worker.running[0]
        errors = self._ray.exceptions
        try:
            each, memory = self._ray.get(answer)
        except errors.RayActorError as problem:
            self._lose(worker, problem)
        except errors.RayError as problem:
            cause = problem.cause if isinstance(problem, errors.RayTaskError) else problem
            if not isinstance(cause, errors.RayError):
                raise cause from None
            worker.running.popleft()  # the frames, or the answer, went with their node
            for job in jobs:
                self._again(job, "score", cause)
        else:
            worker.running.popleft()
            self.about["peak_memory_mb"] = max(self.about["peak_memory_mb"], memory)
            self._ready.extend(Prediction(job.sample, views) for job, views in zip(jobs, each, strict=True))

    def _again(self, job: _Job, stage: str, problem: Exception, blamed: bool = True) -> None:
        """Hand a video out once more, or give it up."""
        log.info("%s is handed out again (%s)", job.video.video_id, type(problem).__name__)
        job.losses += blamed
        job.sample = job.frames = None
        if job.losses < LOSSES:
            self._waiting.appendleft(job)
        else:
            reason = f"its worker was lost {LOSSES} times ({type(problem).__name__})"
            self._ready.append(Failure(job.video, stage, reason))
