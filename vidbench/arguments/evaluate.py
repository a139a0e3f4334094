"""The settings of scripts/evaluate.py and scripts/predict.py."""

import re
from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, one_of, setting, shard
from vidbench.arguments.shared import DataSettings, ModelSettings
from vidbench.utils import UserError


@dataclass(frozen=True)
class EvaluateSettings(DataSettings, ModelSettings):
    """The flags of scripts/evaluate.py."""

    split: str = setting("val", "train, val or test", also=("kinetics-split",))
    list: Path | None = setting(None, "a file of video ids, one a line: exactly these are scored")
    exclude_ids: Path | None = setting(
        None, "a file of ids that are not scored, one a line, or an annotation CSV of Kinetics: videos seen in training"
    )
    shard: tuple | None = setting(
        None, "I/N: every N-th video from the I-th; vidbench.report merge joins the parts", shard, "I/N"
    )
    results_dir: Path = setting(Path("results"), "where runs are written")
    name: str | None = setting(None, "the run's folder (default: model, dataset, version and split)")
    overwrite: bool = setting(False, "replace the run that the folder holds", also=("overwrite-output-dir",))
    until: float | None = setting(
        None, "stop when the 95 % interval of top-1 is no wider than this many points either way", metavar="POINTS"
    )
    engine: str = setting("local", "local: this process; ray: tasks and actors of Ray, on one machine or many")
    ray_address: str | None = setting(
        None, "the cluster of --engine ray: auto (the one this machine is in) or HOST:PORT (default: started here)",
        metavar="HOST:PORT",
    )  # fmt: skip
    model_workers: int | None = setting(
        None, "with --engine ray: model workers (default: as many as the nodes can hold)"
    )
    cpus_per_worker: int | None = setting(
        None, "with --engine ray: processors of a model worker (default: those of a node less one, at most 7)"
    )
    gpus_per_worker: int | None = setting(
        None, "with --engine ray: GPUs of a model worker (default: 1 where the cluster has any, else 0)"
    )
    predict_only: bool = setting(False, "predictions without accuracy")
    dry_run: bool = setting(False, "time a few clips and say what the run would cost")

    def __post_init__(self):
        super().__post_init__()
        above(self, "until", 0)
        one_of(self, "engine", ("local", "ray"))
        for name, least in (("model_workers", 0), ("cpus_per_worker", 0), ("gpus_per_worker", -1)):
            above(self, name, least)
        for name in ("ray_address", "model_workers", "cpus_per_worker", "gpus_per_worker"):
            if getattr(self, name) is not None and self.engine != "ray":
                raise UserError(f"--{name.replace('_', '-')} goes with --engine ray")
        if self.ray_address is not None and not re.fullmatch(r"auto|(?!ray://).+:\d{1,5}", self.ray_address):
            raise UserError(f"--ray-address must be auto or HOST:PORT, got {self.ray_address!r}")
        if self.gpus_per_worker and not self.cuda:
            raise UserError("--gpus-per-worker and --no-cuda contradict each other")
        if self.until and (self.shard or self.predict_only):
            raise UserError("--until needs the accuracy of the whole run: it goes without --shard and --predict-only")
        if self.name is not None and (Path(self.name).name != self.name or self.name.strip() in ("", ".", "..")):
            raise UserError(f"--name must be a plain folder name, got {self.name!r}")


@dataclass(frozen=True)
class PredictSettings(ModelSettings):
    """The flags of scripts/predict.py."""

    videos: tuple = setting((), "video files, folders of videos or folders of frames", metavar="VIDEO", positional=True)
    json: bool = setting(False, "print JSON in place of a table")
