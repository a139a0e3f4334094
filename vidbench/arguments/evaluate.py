"""The settings of scripts/evaluate.py and scripts/predict.py."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, setting, shard
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
    predict_only: bool = setting(False, "predictions without accuracy")
    dry_run: bool = setting(False, "time a few clips and say what the run would cost")

    def __post_init__(self):
        super().__post_init__()
        above(self, "until", 0)
        if self.until and (self.shard or self.predict_only):
            raise UserError("--until needs the accuracy of the whole run: it goes without --shard and --predict-only")
        if self.name is not None and (Path(self.name).name != self.name or self.name.strip() in ("", ".", "..")):
            raise UserError(f"--name must be a plain folder name, got {self.name!r}")


@dataclass(frozen=True)
class PredictSettings(ModelSettings):
    """The flags of scripts/predict.py."""

    videos: tuple = setting((), "video files, folders of videos or folders of frames", metavar="VIDEO", positional=True)
    json: bool = setting(False, "print JSON in place of a table")
