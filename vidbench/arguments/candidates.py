"""The settings of scripts/candidates.py train and scan."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, setting
from vidbench.utils import UserError


@dataclass(frozen=True)
class CandidateTrainSettings:
    """The flags of scripts/candidates.py train."""

    data_dir: Path | None = setting(None, "an image folder a class, DIR/<class>/*; that of no action: none of these")
    feature_extractor: str = setting(
        "densenet121",
        "a backbone of keras.applications, by name; or demo-frames, the kit's own for drawn figures",
        metavar="NAME",
    )
    weights: str = setting(
        "imagenet",
        "imagenet (fetched once), none, or a file: the application's own without its top (….h5), or a .keras file that "
        "this command saved",
        metavar="imagenet|none|FILE",
    )
    image_size: int = setting(224, "pixels: images are squeezed to squares of this side")
    epochs: int = setting(8, "passes over the images with all weights")
    frozen_epochs: int = setting(2, "passes before, with the head alone; none with --weights none")
    batch_size: int = setting(32, "images a step")
    learning_rate: float = setting(3e-5, "of the passes with all weights, at first; with --weights none take 1e-3")
    held_out: float = setting(0.2, "share of the images that choose the epoch and the temperature")
    save_checkpoint: Path | None = setting(
        None, "the .keras file that is written; .json and .txt join it", metavar="FILE"
    )
    overwrite: bool = setting(False, "replace that file")
    seed: int = setting(0, "of everything random")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        if self.data_dir is None:
            raise UserError("--data-dir DIR is needed: an image folder a class")
        if self.save_checkpoint is None or self.save_checkpoint.suffix != ".keras":
            raise UserError(f"--save-checkpoint must name a .keras file, got {self.save_checkpoint}")
        for name in ("epochs", "batch_size", "learning_rate"):
            above(self, name, 0)
        for name in ("frozen_epochs", "seed"):
            above(self, name, -1)
        if self.image_size < 32:
            raise UserError(f"--image-size must be 32 or more, got {self.image_size}")
        if not 0.05 <= self.held_out <= 0.5:
            raise UserError(f"--held-out must lie between 0.05 and 0.5, got {self.held_out:g}")


@dataclass(frozen=True)
class CandidateScanSettings:
    """The flags of scripts/candidates.py scan."""

    video_path: str | None = setting(
        None, "a video, a folder of videos, or what yt-dlp fetches: https://…, ytsearch5:words", metavar="V|DIR|URL"
    )
    image_classifier_checkpoint: Path | None = setting(None, "the .keras file of an image classifier", metavar="FILE")
    class_names: Path | None = setting(
        None,
        "classes to look for, one a line (default: all but none of these); of a checkpoint without JSON: all of its "
        "classes, in the order of its outputs",
        metavar="FILE",
    )
    out_dir: Path | None = setting(None, "where tables, clips, scores and figures go")
    clip_seconds: int = setting(10, "of a clip; whole ones, as Kinetics counts")
    max_clips: int = setting(0, "at most so many clips, the likeliest of each class in turn; 0 is no bound")
    threshold: float = setting(0.5, "smoothed probability from which a moment is a candidate")
    frames_per_second: float = setting(4.0, "frames that are scored")
    smooth_seconds: float | None = setting(None, "width of the window that smooths scores (default: --clip-seconds)")
    copy: bool = setting(False, "cut at key frames, without encoding anew: fast, but a clip may begin earlier")
    batch_size: int = setting(32, "frames that are scored at once")
    cuda: bool = setting(True, "use a GPU where there is one")
    overwrite: bool = setting(False, "replace a scan with another classifier or frame rate")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        for name in ("video_path", "image_classifier_checkpoint", "out_dir"):
            if getattr(self, name) is None:
                raise UserError(f"--{name.replace('_', '-')} is needed")
        for name in ("clip_seconds", "frames_per_second", "batch_size"):
            above(self, name, 0)
        for name in ("max_clips", "smooth_seconds"):
            above(self, name, -1e-9)
        if not 0 <= self.threshold <= 1:
            raise UserError(f"--threshold must lie between 0 and 1, got {self.threshold:g}")
