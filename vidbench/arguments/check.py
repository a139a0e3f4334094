"""The settings of scripts/check.py."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, comma_list, setting
from vidbench.arguments.shared import DataSettings, LoadingSettings


@dataclass(frozen=True)
class CheckSettings(DataSettings, LoadingSettings):
    """The flags of scripts/check.py."""

    splits: tuple = setting(
        (), "which splits (default: those of train, val and test that are there)", comma_list, "A,B"
    )
    model: str | None = setting(
        None,
        "a model, or a .keras file, that the videos must be long enough for (python -m vidbench.models lists them)",
    )
    num_frames: int | None = setting(None, "frames that a video must have, or a view of the model has")
    frame_rate: float | None = setting(None, "frames a second of these frames")
    out_dir: Path | None = setting(None, "where check.csv and the pictures go (default: checks/ and the data's name)")

    def __post_init__(self):
        super().__post_init__()
        for name in ("num_frames", "frame_rate"):
            above(self, name, 0)

    @property
    def folder(self) -> Path:
        """Where the files go: `--out-dir`, else `checks/<data set>-<its folder or table>`."""
        place = self.csv or self.gt_csv or self.annotations or self.data_dir
        parts = [self.dataset, place.resolve().stem if place else "", str(self.fold) if self.fold != 1 else ""]
        return self.out_dir or Path("checks") / "-".join(part for part in parts if part)
