"""The settings of scripts/train.py."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, comma_list, height_and_width, numbers, one_of, setting, views
from vidbench.arguments.shared import DataSettings, LoadingSettings
from vidbench.utils import UserError

EXPORTS = ("onnx", "saved_model", "openvino", "none")


@dataclass(frozen=True)
class TrainSettings(DataSettings, LoadingSettings):
    """The flags of scripts/train.py."""

    # --- model
    model: str = setting("tiny2plus1d", "an architecture (python -m vidbench.models), or a .keras file to go on from")
    weights: str | None = setting(
        None, "what an architecture begins with: published weights (kinetics400), or a file; fresh ones without"
    )
    dropout: float | None = setting(None, "share that dropout layers drop, in place of the architecture's")
    precision: str = setting("float32", "float32 or bfloat16 (the weights stay float32)")

    # --- data
    train_split: str = setting("train", "the split to learn from")
    val_split: str = setting("val", "the split that chooses the best epoch")
    test_split: str | None = setting(
        None, "the split that is scored once, at the end (default: test, where there is one)"
    )
    cache_train: bool = setting(False, "keep whole training videos, resized, in the cache: decoded once, but large")

    # --- clips
    clip_len: int | None = setting(None, "frames a clip, in place of the model's own", also=("num-frames",))
    clip_seconds: float | None = setting(None, "seconds a clip, in place of --clip-len")
    train_clip_len: int | None = setting(
        None, "frames of a training clip where they differ from what val and tests see"
    )
    frame_rate: float | None = setting(None, "frames a second, in place of the model's own sampling")
    clips_per_video: int = setting(1, "random clips of a training video an epoch; above 1, as many even ones in val")
    views: tuple | None = setting(None, "CLIPSxCROPS of a val video, averaged, e.g. 1x1", views, "CLIPSxCROPS")
    short_videos: str = setting("repeat", "fail or repeat: what happens to a video with too few frames")
    train_resize_size: tuple | None = setting(
        None, "height and width, or the short side", height_and_width("--train-resize-size"), "N", several=True
    )
    train_crop_size: tuple | None = setting(
        None, "height and width of the training crop", height_and_width("--train-crop-size"), "N", several=True
    )
    val_resize_size: tuple | None = setting(
        None, "the same for val and tests", height_and_width("--val-resize-size"), "N", several=True
    )
    val_crop_size: tuple | None = setting(
        None, "the same for val and tests", height_and_width("--val-crop-size"), "N", several=True
    )

    # --- augmentation
    flip: float = setting(0.5, "share of training clips that are mirrored")
    no_flip: tuple = setting((), "classes that are never mirrored", comma_list, "A,B")
    short_side: tuple | None = setting(
        None, "draw the short side between two numbers of pixels", numbers("--short-side", 2, 2, int), "N", several=True
    )
    train_crop: str = setting("random", "random or center: where training crops are cut")
    color_jitter: float = setting(0.0, "strength, 0 to 1, of changes of brightness, contrast, saturation and hue")
    blur: float = setting(0.0, "share of clips that are blurred")
    random_erase: float = setting(0.0, "share of clips with a rectangle of noise")
    mixup: float = setting(0.0, "alpha of mixup, 0 is off")
    cutmix: float = setting(0.0, "alpha of cutmix, 0 is off")

    # --- optimisation
    epochs: int = setting(10, "passes over the training videos")
    batch_size: int = setting(8, "clips a step, over all devices and processes together")
    accumulate: int = setting(1, "steps whose gradients are averaged before the weights change")
    optimizer: str = setting("adamw", "sgd, adam or adamw")
    learning_rate: float = setting(1e-3, "the highest one", also=("lr",))
    momentum: float = setting(0.9, "of sgd")
    weight_decay: float | None = setting(
        None, "of kernels; norms and biases have none (default: 0.02 for adamw, 1e-4 for sgd and adam)"
    )
    schedule: str = setting("cosine", "cosine, step or constant, after the warm-up")
    milestones: tuple = setting(
        (), "epochs after which a step schedule goes down", numbers("--milestones", 1, 99), "X",
        also=("lr-milestones",), several=True,
    )  # fmt: skip
    gamma: float = setting(0.1, "by which factor it does", also=("lr-gamma",))
    warmup_epochs: float = setting(1.0, "epochs of a linear rise before", also=("lr-warmup-epochs",))
    warmup_factor: float = setting(0.01, "where the rise begins, of the rate", also=("lr-warmup-decay",))
    min_factor: float = setting(0.0, "where a cosine ends, of the rate")
    auto_scale_lr: bool = setting(False, "the rate is for --base-batch-size clips an update: scale it to this run's")
    base_batch_size: int | None = setting(None, "see --auto-scale-lr")
    clip_norm: float | None = setting(None, "longest gradient, all weights together")
    label_smoothing: float = setting(0.0, "share of a label that is spread over all classes")
    class_weights: bool = setting(False, "let every class count the same, however many clips it has")
    freeze_backbone: bool = setting(False, "train the last layer alone")
    unfreeze_at: int | None = setting(None, "with --freeze-backbone: epochs after which the rest learns too")
    patience: int | None = setting(None, "stop early: epochs without a better val accuracy")
    sync_bn: bool = setting(False, "batch norms over the clips of all GPUs (on JAX they always are)")

    # --- what is done
    probe: bool = setting(False, "fit the last layer alone, on features that are computed once: seconds, not hours")
    fast_dev_run: bool = setting(False, "one batch of everything, to see that it runs")
    val_only: bool = setting(False, "score the val split, train nothing")
    test_only: bool = setting(False, "score the test split, train nothing")
    export_only: bool = setting(False, "export a trained model, train nothing")
    export: tuple = setting(("onnx",), "onnx, saved_model, openvino; none", comma_list, "A,B")
    export_input: str = setting("uint8", "uint8 or float32: what the exported model takes")
    licence: str = setting("not stated", "of the weights, for the exported model's card")

    # --- the run
    runs_dir: Path = setting(Path("runs"), "where runs are written")
    name: str | None = setting(None, "the run's folder (default: model and data set)")
    resume: bool = setting(False, "go on with the run of that folder, or fail; an unfinished run goes on by itself")
    overwrite: bool = setting(False, "replace the run that the folder holds")
    save_minutes: float = setting(10.0, "minutes between saves within an epoch; each epoch's end saves too")
    save_every: int | None = setting(None, "epochs between checkpoints that are kept: epoch-0010.keras")
    top_n: int = setting(5, "how many predictions a row keeps when a split is scored")
    tensorboard: bool = setting(False, "write what TensorBoard shows into the run's folder")
    mlflow: str | None = setting(None, "log to MLflow: a URI, or without one mlflow.db in --runs-dir", alone="local")
    experiment: str = setting("vidbench", "the experiment's name in MLflow")
    run_name: str | None = setting(None, "the run's name in MLflow (default: --name)")
    description: str | None = setting(None, "of the run, in MLflow and in the report")

    # --- several processes, on JAX
    coordinator: str | None = setting(
        None, "HOST:PORT of process 0; auto: as SLURM, Open MPI or Kubernetes say", metavar="HOST:PORT"
    )
    num_processes: int | None = setting(None, "how many there are (SLURM and Kubernetes tell it themselves)")
    process_id: int | None = setting(None, "which of them this is, from 0")

    def __post_init__(self):
        super().__post_init__()
        one_of(self, "precision", ("float32", "bfloat16"))
        one_of(self, "short_videos", ("fail", "repeat"))
        one_of(self, "export_input", ("uint8", "float32"))
        for name in ("clip_len", "clip_seconds", "train_clip_len", "frame_rate", "clips_per_video", "base_batch_size"):
            above(self, name, 0)
        for name in ("save_every", "top_n", "num_processes"):
            above(self, name, 0)
        above(self, "save_minutes", -1e-9)
        above(self, "process_id", -1)
        for name in self.export:
            if name not in EXPORTS:
                raise UserError(f"--export must be {', '.join(EXPORTS)}, got {name!r}")
        if self.clip_len and self.clip_seconds:
            raise UserError("--clip-len and --clip-seconds say the same: give one of them")
        if self.auto_scale_lr != (self.base_batch_size is not None):
            raise UserError("--auto-scale-lr and --base-batch-size N (that --learning-rate is for) go together")
        if self.cache_train and not self.cache:
            raise UserError("--cache-train and --no-cache contradict each other")
        if "none" in self.export and len(self.export) > 1:
            raise UserError(f"--export none and other formats contradict each other, got {','.join(self.export)}")
        if self.export_only and "none" in self.export:
            raise UserError("--export-only and --export none contradict each other")
        if self.probe and (self.fast_dev_run or self.tensorboard or self.mlflow or self.resume):
            raise UserError("--probe is done in one go: no --fast-dev-run, --resume, --tensorboard, --mlflow with it")
        if sum((self.probe, self.val_only, self.test_only, self.export_only)) > 1:
            raise UserError("--probe, --val-only, --test-only and --export-only exclude each other")
        if self.fast_dev_run and (self.val_only or self.test_only or self.export_only):
            raise UserError("--fast-dev-run trains: it does not go with --val-only, --test-only or --export-only")
        told = [self.num_processes is not None, self.process_id is not None]
        if any(told) != all(told) or any(told) != (self.coordinator not in (None, "auto")):
            raise UserError(
                "--coordinator HOST:PORT, --num-processes N and --process-id I go together; auto needs none"
            )
        if all(told) and self.process_id >= self.num_processes:
            raise UserError(f"--process-id must be 0 to {self.num_processes - 1}, got {self.process_id}")
        if self.name is not None and (Path(self.name).name != self.name or self.name.strip() in ("", ".", "..")):
            raise UserError(f"--name must be a plain folder name, got {self.name!r}")
