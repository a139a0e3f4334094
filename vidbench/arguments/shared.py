"""Settings that several commands share."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, byte_count, comma_list, one_of, setting, value_range, views
from vidbench.utils import UserError

BELONGS = {  # options that only some data sets know
    "kinetics_version": ("kinetics",),
    "population": ("kinetics",),
    "fold": ("ucf101", "hmdb51"),
    "csv": ("csv",),
    "gt_csv": ("frames",),
    "annotations": ("annotations",),
}


@dataclass(frozen=True)
class ProcessSettings:
    """What every command that runs a model knows of its process."""

    seed: int = setting(0, "of everything random: the order of the videos first")
    cuda: bool = setting(True, "use a GPU where there is one (--no-cuda: the prototype's flag)")
    verbose: bool = setting(False, "say more on the way", also=("verbose-logging",))
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        above(self, "seed", -1)


@dataclass(frozen=True)
class LoadingSettings(ProcessSettings):
    """How videos are read."""

    workers: int | None = setting(None, "decoding processes (default: the processors that this process may use)")
    decode_timeout: float = setting(60.0, "seconds after which a video that is not decoded is given up")
    frames_fps: float = setting(25.0, "frames a second that folders of frames are taken to have")
    cache_dir: Path | None = setting(None, "the NumPy cache (default: data/cache of the repository; predict.py: none)")
    cache: bool = setting(True, "keep decoded clips in the cache")
    overwrite_cache: bool = setting(False, "decode anew what the cache holds")
    cache_max_bytes: int | None = setting(
        None, "above this, e.g. 20GB, what was used longest ago goes", byte_count("--cache-max-bytes"), "BYTES"
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("workers", "decode_timeout", "frames_fps"):
            above(self, name, 0)


@dataclass(frozen=True)
class DataSettings:
    """Which videos: the flags that evaluate.py and train.py share."""

    dataset: str | None = setting(None, "demo (default), kinetics, ucf101, hmdb51, folder, frames, csv, annotations")
    data_dir: Path | None = setting(None, "where the data lies (default: data/demo or data/raw/… of the repository)")
    kinetics_version: str | None = setting(None, "400 (default), 600 or 700-2020; implies --dataset kinetics")
    fold: int = setting(1, "official fold of ucf101 and hmdb51: 1, 2 or 3")
    csv: Path | None = setting(None, "the table of --dataset csv: path,label and optional start,end,group,split")
    gt_csv: Path | None = setting(None, "ground truth of --dataset frames: youtube_id,folder_name,label")
    annotations: Path | None = setting(None, "what scripts/split.py wrote; implies --dataset annotations")
    population: str | None = setting(None, "annotations or found: what --dataset kinetics lists")
    label_map: Path | None = setting(None, "CSV of two columns, from,to, that renames the data's labels")
    num_videos: int = setting(0, "the first so many of the seeded order; 0 is all")
    classes: tuple = setting((), "only these classes, separated by commas", comma_list, "A,B")

    def __post_init__(self):
        super().__post_init__()
        one_of(self, "population", ("annotations", "found"))
        above(self, "num_videos", -1)
        if self.dataset is None:
            implied = "kinetics" if self.kinetics_version else "annotations" if self.annotations else "demo"
            object.__setattr__(self, "dataset", implied)
        if self.fold not in (1, 2, 3):
            raise UserError(f"--fold must be 1, 2 or 3, got {self.fold}")
        for option, owners in BELONGS.items():
            value = getattr(self, option)
            if value not in (None, 1) and self.dataset not in owners:
                flag = f"--{option.replace('_', '-')}"
                raise UserError(f"{flag} goes with --dataset {' or '.join(owners)}, not {self.dataset}")

    @property
    def dataset_id(self) -> str:
        """The data set's name, as published accuracies name it: with the version of Kinetics."""
        return f"kinetics-{self.kinetics_version or '400'}" if self.dataset == "kinetics" else self.dataset


@dataclass(frozen=True)
class ModelSettings(LoadingSettings):
    """Which classifier, and how it is fed: the flags that evaluate.py and predict.py share."""

    model: str = setting(
        "demo",
        "a registered name (python -m vidbench.models lists them), a .keras or .onnx file, a SavedModel or OpenVINO "
        "folder, a hub handle",
        also=("model-type",),
    )
    model_trained_on: str | None = setting(
        None, "with --model-type i3d (the prototype's flags): kinetics-400 or kinetics-600"
    )
    weights: str | None = setting(None, "weights of an architecture: a name (kinetics400) or a file")
    model_classes: Path | None = setting(
        None, "class names of a model that has no JSON beside it: a file with one a line"
    )
    value_range: tuple | None = setting(
        None, "LO,HI: what pixels 0 and 255 become, in place of the model's own", value_range, "LO,HI"
    )
    num_frames: int | None = setting(None, "frames a view, in place of the model's own")
    frame_rate: float | None = setting(None, "frames a second: clips at this rate in place of the model's own sampling")
    views: tuple | None = setting(
        None, "CLIPSxCROPS: views of a video whose probabilities are averaged, e.g. 10x3", views, "CLIPSxCROPS"
    )
    resize_type: str | None = setting(None, "crop or pad: a square cut from the frame, or the frame padded to a square")
    short_videos: str | None = setting(None, "fail or repeat: what happens to a video with too few frames")
    frame_order: str = setting(
        "normal", "normal, reversed, shuffled, or frozen (the middle frame repeated: the single-frame baseline)"
    )
    distinct_frames: int | None = setting(None, "show the model only so many different frames, each held for a while")
    batch_size: int = setting(8, "views that are gathered for the model: a GPU takes them at once, a CPU one by one")
    precision: str = setting("float32", "float32, bfloat16 or int8")
    runtime: str | None = setting(
        None,
        "what runs the model: tensorflow, jax, openvino or onnxruntime (default: tensorflow, openvino for int8, an "
        "ONNX or OpenVINO file's own)",
    )
    calibration_dir: Path | None = setting(
        None, "videos that int8 takes its ranges from (default: another split of the data set)"
    )
    calibration_clips: int = setting(32, "how many of them")
    top_n: int = setting(5, "how many predictions a row keeps")

    def __post_init__(self):
        super().__post_init__()
        one_of(self, "precision", ("float32", "bfloat16", "int8"))
        one_of(self, "runtime", ("tensorflow", "jax", "openvino", "onnxruntime"))
        one_of(self, "frame_order", ("normal", "reversed", "shuffled", "frozen"))
        one_of(self, "resize_type", ("crop", "pad"))
        one_of(self, "short_videos", ("fail", "repeat"))
        for name in ("num_frames", "frame_rate", "distinct_frames", "batch_size", "top_n", "calibration_clips"):
            above(self, name, 0)

    @property
    def converted_to(self) -> str | None:
        """The runtime that a model of TensorFlow is converted to; None where TensorFlow, or JAX, runs it itself."""
        runtime = self.runtime or ("openvino" if self.precision == "int8" else None)
        return None if runtime in ("tensorflow", "jax") else runtime

    @property
    def loaded_precision(self) -> str:
        """The precision in which a model is loaded: float32 where it is converted afterwards, or int8 is refused."""
        return "float32" if self.converted_to or self.precision == "int8" else self.precision

    @property
    def model_name(self) -> str:
        """`--model`, or what the prototype's `--model-type` and `--model-trained-on` mean together."""
        if not self.model_trained_on or self.model.endswith(self.model_trained_on):
            return self.model
        return f"{self.model}-{self.model_trained_on}"
