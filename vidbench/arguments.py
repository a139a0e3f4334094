"""Every setting of a command, once: a frozen dataclass from which flags, argfiles and help derive."""

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from vidbench.utils import UserError


def setting(
    default,
    meaning: str,
    parse=None,
    metavar: str | None = None,
    also: tuple[str, ...] = (),
    positional: bool = False,
    several: bool = False,
):
    """A field of a settings class, from which its flag derives.

    meaning: the help text. parse: text → value, where the type alone does not say; it raises UserError. also:
    other flags that set it too. positional: its values are the command's own words, not a flag's. several: the
    flag takes one word or more, which `parse` gets with spaces between them.
    """
    told = {"help": meaning, "parse": parse, "metavar": metavar, "also": also, "positional": positional}
    return field(default=default, metadata=told | {"several": several})


def comma_list(text: str) -> tuple[str, ...]:
    """'a,b' → ('a', 'b'); a name with a comma stands in double quotes."""
    return tuple(part.strip() for part in next(csv.reader([text], skipinitialspace=True), ()) if part.strip())


def views(text: str) -> tuple[int, int]:
    """'10x3' → (10, 3): clips, crops."""
    found = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if not found or "0" in found.groups():
        raise UserError(f"--views: wanted CLIPSxCROPS such as 10x3, got {text!r}")
    return int(found[1]), int(found[2])


def shard(text: str) -> tuple[int, int]:
    """'3/8' → (3, 8): every eighth video, from the third."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard: wanted I/N with 1 <= I <= N such as 3/8, got {text!r}")
    return int(found[1]), int(found[2])


def value_range(text: str) -> tuple[float, float]:
    """'-1,1' → (-1.0, 1.0)."""
    try:
        low, high = map(float, text.split(","))
        if low < high:
            return low, high
    except ValueError:
        pass
    raise UserError(f"--value-range: wanted LO,HI such as -1,1, got {text!r}")


def ratios(text: str) -> tuple[float, ...]:
    """'80 10 10' → (80, 10, 10): train, val and, where there are three, test."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number < math.inf for number in numbers) or not any(numbers):
        raise UserError(f"--ratios: wanted two or three numbers such as 80 10 10, none negative, got {text!r}")
    return tuple(int(number) if number.is_integer() else number for number in numbers)


BELONGS = {  # options that only some data sets know
    "kinetics_version": ("kinetics",),
    "population": ("kinetics",),
    "fold": ("ucf101", "hmdb51"),
    "csv": ("csv",),
    "gt_csv": ("frames",),
    "annotations": ("annotations",),
}


@dataclass(frozen=True)
class ModelSettings:
    """Which classifier, and how it is fed: the flags that evaluate.py and predict.py share."""

    model: str = setting(
        "demo",
        "a registered name (python -m vidbench.models lists them), a .keras file, a SavedModel folder, a hub handle",
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
    workers: int | None = setting(None, "decoding processes (default: the processors that this process may use)")
    decode_timeout: float = setting(60.0, "seconds after which a video that is not decoded is given up")
    precision: str = setting("float32", "float32 or bfloat16")
    runtime: str = setting("tensorflow", "what runs the model: tensorflow")
    frames_fps: float = setting(25.0, "frames a second that folders of frames are taken to have")
    cache_dir: Path | None = setting(None, "the NumPy cache (default: data/cache of the repository; predict.py: none)")
    cache: bool = setting(True, "keep decoded clips in the cache")
    overwrite_cache: bool = setting(False, "decode anew what the cache holds")
    top_n: int = setting(5, "how many predictions a row keeps")
    seed: int = setting(0, "of the order of the videos and of shuffled frames")
    cuda: bool = setting(True, "use a GPU where there is one (--no-cuda: the prototype's flag)")
    verbose: bool = setting(False, "say more on the way", also=("verbose-logging",))
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        _one_of(self, "precision", ("float32", "bfloat16"))
        _one_of(self, "runtime", ("tensorflow",))
        _one_of(self, "frame_order", ("normal", "reversed", "shuffled", "frozen"))
        _one_of(self, "resize_type", ("crop", "pad"))
        _one_of(self, "short_videos", ("fail", "repeat"))
        for name in (
            "num_frames",
            "frame_rate",
            "distinct_frames",
            "batch_size",
            "workers",
            "decode_timeout",
            "frames_fps",
            "top_n",
        ):
            _above(self, name, 0)

    @property
    def model_name(self) -> str:
        """`--model`, or what the prototype's `--model-type` and `--model-trained-on` mean together."""
        if not self.model_trained_on or self.model.endswith(self.model_trained_on):
            return self.model
        return f"{self.model}-{self.model_trained_on}"


@dataclass(frozen=True)
class EvaluateSettings(ModelSettings):
    """The flags of scripts/evaluate.py."""

    dataset: str | None = setting(None, "demo (default), kinetics, ucf101, hmdb51, folder, frames, csv, annotations")
    split: str = setting("val", "train, val or test", also=("kinetics-split",))
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
    list: Path | None = setting(None, "a file of video ids, one a line: exactly these are scored")
    shard: tuple | None = setting(
        None, "I/N: every N-th video from the I-th; vidbench.report merge joins the parts", shard, "I/N"
    )
    results_dir: Path = setting(Path("results"), "where runs are written")
    name: str | None = setting(None, "the run's folder (default: model, dataset, version and split)")
    overwrite: bool = setting(False, "replace the run that the folder holds", also=("overwrite-output-dir",))
    predict_only: bool = setting(False, "predictions without accuracy")
    dry_run: bool = setting(False, "time a few clips and say what the run would cost")

    def __post_init__(self):
        super().__post_init__()
        _one_of(self, "population", ("annotations", "found"))
        _above(self, "num_videos", -1)
        _above(self, "seed", -1)
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
        if self.name is not None and (Path(self.name).name != self.name or self.name.strip() in ("", ".", "..")):
            raise UserError(f"--name must be a plain folder name, got {self.name!r}")


@dataclass(frozen=True)
class PredictSettings(ModelSettings):
    """The flags of scripts/predict.py."""

    videos: tuple = setting((), "video files, folders of videos or folders of frames", positional=True)
    json: bool = setting(False, "print JSON in place of a table")


@dataclass(frozen=True)
class SplitSettings:
    """The flags of scripts/split.py."""

    root: Path | None = setting(None, "a folder of class folders, DIR/<class>/*; with --gt-csv, of folders of frames")
    gt_csv: Path | None = setting(None, "the labels of folders of frames: youtube_id,folder_name,label")
    ratios: tuple = setting((80, 10, 10), "of train, val and test; 0 or left out: no test", ratios, "X", several=True)
    group_by: str | None = setting(
        None,
        "videos in whose path below --root this finds the same (its first group, else the whole match) stay "
        "together (default: what names as in UCF-101, HMDB51 and Kinetics tell, else each video alone)",
        metavar="REGEX",
    )
    seed: int = setting(0, "of the order in which videos are shared out")
    out: Path | None = setting(None, "where annotations.json, train.csv, val.csv, test.csv go (default: --root)")
    overwrite: bool = setting(False, "replace these files where they are there")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        if self.root is None:
            raise UserError("--root DIR is needed: the folder of the videos")
        _above(self, "seed", -1)
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as problem:
                raise UserError(f"--group-by {self.group_by!r} is no regular expression: {problem}") from None

    @property
    def folder(self) -> Path:
        """Where the files go: `--out`, else `--root`."""
        return self.out or self.root


def _one_of(settings, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(settings, name)
    if value is not None and value not in choices:
        raise UserError(f"--{name.replace('_', '-')} must be {' or '.join(choices)}, got {value!r}")


def _above(settings, name: str, bound: float) -> None:
    value = getattr(settings, name)
    if value is not None and not value > bound:
        least = "must be positive" if bound == 0 else "must not be negative"
        raise UserError(f"--{name.replace('_', '-')} {least}, got {value:g}")
