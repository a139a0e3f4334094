"""Settings → the plan, the protocols, the loaders, the name and the identity of a run."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras

from vidbench.arguments import TrainSettings
from vidbench.commands import as_argfile
from vidbench.data.augment import Augmentation
from vidbench.data.load import VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.data.train_loader import TrainingLoader
from vidbench.machine import usable_cpus
from vidbench.models.spec import Spec
from vidbench.prepare import cache_folder
from vidbench.report import environment
from vidbench.runtimes.precision import keep_short_kernels
from vidbench.train.data import TrainingData, find_data
from vidbench.train.devices import Devices
from vidbench.train.network import Start, set_sync_bn, start_from
from vidbench.train.plan import Plan, scaled_rate
from vidbench.train.tracking import check_trackers
from vidbench.utils import UserError, canonical_label, sha256_of

log = logging.getLogger(__name__)
AUGMENTATION = {  # a field of Augmentation → the setting that says it
    **{"flip": "flip", "no_flip": "no_flip", "short_side": "short_side", "crop": "train_crop", "color": "color_jitter"},
    **{"blur": "blur", "erase": "random_erase", "mixup": "mixup", "cutmix": "cutmix"},
}
PLAN = (
    *("epochs", "batch_size", "accumulate", "optimizer", "momentum", "weight_decay", "schedule", "milestones"),
    *("gamma", "warmup_epochs", "warmup_factor", "min_factor", "clip_norm", "label_smoothing", "freeze_backbone"),
    *("unfreeze_at", "patience"),
)
NOT_OF_A_PROBE = (  # settings that change nothing of one
    *AUGMENTATION.values(),
    *PLAN,
    *("learning_rate", "auto_scale_lr", "base_batch_size", "class_weights", "sync_bn", "save_every", "cache_train"),
    *("train_clip_len", "train_resize_size", "train_crop_size"),
)

OF_THIS_MACHINE = (
    *("runs_dir", "cache_dir", "cache", "overwrite_cache", "workers", "decode_timeout", "cuda", "verbose", "debug"),
    *("resume", "overwrite", "save_minutes", "coordinator", "num_processes", "process_id", "mlflow", "tensorboard"),
)


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that a run is made of, before its first step."""

    settings: TrainSettings
    devices: Devices
    plan: Plan
    data: TrainingData
    start: Start
    spec: Spec
    loader: TrainingLoader | None  # of a probe, which learns from even clips, None


def prepare_run(settings: TrainSettings, devices: Devices, progress: bool = False) -> Run:
    """What the settings mean. Sets the seed of Keras, NumPy and Python; raises UserError for what cannot be."""
    plan = plan_of(settings)
    devices.check(plan, settings.probe)
    data = find_data(settings, progress)
    check_trackers(settings)
    keras.utils.set_random_seed(settings.seed)  # fresh weights, and dropout's generators
    with devices.scope():
        start = start_from(settings.model, data.classes, settings.weights, settings.dropout, settings.precision)
    if settings.sync_bn and devices.strategy:
        set_sync_bn(start.network.layers, True)
    protocol, train_protocol = protocols_of(settings, start.spec)
    spec = run_spec(settings, start, protocol, data)
    spec.check_frames(train_protocol.num_frames)
    if settings.precision == "bfloat16":
        keep_short_kernels(start.network, (train_protocol.num_frames, *train_protocol.frame_size, 3))
    if settings.probe:
        if idle := [name for name in NOT_OF_A_PROBE if getattr(settings, name) != getattr(TrainSettings(), name)]:
            log.warning("a probe does not use %s", ", ".join(f"--{name.replace('_', '-')}" for name in idle))
        return Run(settings, devices, plan, data, start, spec, None)
    loader = training_loader(settings, plan, data.train, spec.classes, train_protocol, devices)
    if (steps := len(loader) * plan.epochs) < plan.accumulate:
        raise UserError(f"--accumulate {plan.accumulate}: the run has {steps} steps, and would never change a weight")
    return Run(settings, devices, plan, data, start, spec, loader)


def plan_of(settings: TrainSettings) -> Plan:
    """The optimisation that the settings mean, with the rate scaled where they ask for it."""
    rate = settings.learning_rate
    if settings.auto_scale_lr:
        batch = settings.batch_size * settings.accumulate
        rate = scaled_rate(rate, batch, settings.base_batch_size)
        log.info(
            "learning rate %g for %d clips an update: %g for %d",
            settings.learning_rate,
            settings.base_batch_size,
            rate,
            batch,
        )
    values = {name: getattr(settings, name) for name in PLAN}
    if settings.fast_dev_run:
        values |= {"epochs": 1, "accumulate": 1, "unfreeze_at": None}
    return Plan(learning_rate=rate, **values)


def protocols_of(settings: TrainSettings, spec: Spec) -> tuple[Protocol, Protocol]:
    """(of val, tests and the saved model; of training): the spec's own, as far as the settings do not say otherwise."""
    views = settings.views or (
        (settings.clips_per_video, spec.protocol.crops) if settings.clips_per_video > 1 else None
    )
    protocol = spec.protocol.override(settings.clip_len, settings.frame_rate, views, None, settings.short_videos)
    if settings.clip_seconds:
        protocol = replace(protocol, num_frames=protocol.frames_in(settings.clip_seconds))
    train = _sized(protocol, settings.train_resize_size, settings.train_crop_size)
    if settings.train_clip_len:
        train = replace(train, num_frames=settings.train_clip_len)
    return _sized(protocol, settings.val_resize_size, settings.val_crop_size), train


def _sized(protocol: Protocol, resize: tuple[int, int] | None, crop: tuple[int, int] | None) -> Protocol:
    return replace(protocol, resize_to=resize or protocol.resize_to, crop=crop or protocol.crop)


def training_loader(
    settings: TrainSettings, plan: Plan, videos: list[Video], classes: tuple[str, ...], protocol: Protocol, devices
) -> TrainingLoader:
    """The loader of a run's training clips."""
    return TrainingLoader(
        videos,
        classes,
        protocol,
        Augmentation(**{name: getattr(settings, flag) for name, flag in AUGMENTATION.items()}),
        batch_size=plan.batch_size,
        max_steps=1 if settings.fast_dev_run else None,
        clips_per_video=settings.clips_per_video,
        seed=settings.seed,
        label_smoothing=plan.label_smoothing,
        class_weights=settings.class_weights,
        short_videos=settings.short_videos,
        part=devices.part,
        workers=settings.workers,
        decode_timeout=settings.decode_timeout,
        frames_fps=settings.frames_fps,
        cache_dir=cache_folder(settings) if settings.cache_train else None,
        cache_max_bytes=settings.cache_max_bytes,
    )


def val_loader(run: Run) -> VideoLoader:
    """The loader of the val videos, of this process's share of them."""
    settings, (part, parts), videos = run.settings, run.devices.part, run.data.val
    if settings.fast_dev_run:
        videos = videos[: max(settings.batch_size, parts)]
    return even_loader(settings, videos[part::parts], run.spec.protocol)


def even_loader(settings: TrainSettings, videos: list[Video], protocol: Protocol) -> VideoLoader:
    """A loader of videos as evaluate.py sees them: even clips, nothing augmented."""
    return VideoLoader(
        videos,
        protocol,
        cache_dir=cache_folder(settings) if settings.cache else None,
        overwrite_cache=settings.overwrite_cache,
        cache_max_bytes=settings.cache_max_bytes,
        workers=settings.workers or usable_cpus(),
        decode_timeout=settings.decode_timeout,
        frames_fps=settings.frames_fps,
    )


def run_name(settings: TrainSettings) -> str:
    """The run's folder: `--name`, or model and data set; a fast dev run has one of its own."""
    data = settings.dataset
    if own := settings.csv or (settings.data_dir if settings.dataset in ("folder", "frames") else None):
        data = Path(own).resolve().stem
    if settings.annotations:
        data = settings.annotations.resolve().parent.name
    name = settings.name or f"{Path(settings.model).stem}-{data}"
    return f"{name}-fast-dev" if settings.fast_dev_run else name


def run_spec(settings: TrainSettings, start: Start, protocol: Protocol, data: TrainingData) -> Spec:
    """The contract of the model that the run makes."""
    source = "; ".join((settings.dataset, *data.source_notes))
    seen = f"{len(data.train):,} videos of {len(data.classes)} classes ({source})"
    before = start.spec.domain if start.source else None
    return replace(
        start.spec.with_protocol(protocol),
        name=run_name(settings),
        domain=f"{seen}, before that {before}" if before else seen,
        trained_on=tuple(dict.fromkeys((*(start.spec.trained_on if start.source else ()), settings.dataset_id))),
        overridden={},
        provenance={
            "command": command_of(settings),
            "architecture": start.network.name,
            "began_with": start.weights,
            "seed": settings.seed,
        }
        | ({} if settings.probe else {"epochs": settings.epochs}),
    )


def command_of(settings: TrainSettings) -> str:
    """The command that makes such a model again, without what is this machine's alone."""
    plain = TrainSettings()
    bare = {name: getattr(plain, name) for name in OF_THIS_MACHINE}
    return " ".join(["python scripts/train.py", *as_argfile(replace(settings, **bare)).splitlines()])


def identity_of(run: Run) -> dict:
    """What makes two starts the same run. Workers, cache, timeouts, hosts and what is exported are not part of it."""
    settings, data, spec, loader = run.settings, run.data, run.spec, run.loader
    identity = {
        "probe": settings.probe,
        "model": _file_digest(settings.model) or settings.model,
        "weights": settings.weights and (_file_digest(settings.weights) or settings.weights),
        "classes": _digest(spec.classes),
        "train_videos": _digest(map(_shown, data.train)),
        "val_videos": _digest(map(_shown, data.val)),
        "protocol": spec.protocol.to_dict(),
        "precision": settings.precision,
        "seed": settings.seed,
        "frames_fps": settings.frames_fps,
        "backend": keras.backend.backend(),
    }
    if loader is None:
        return identity
    return identity | {
        "plan": run.plan.to_dict(),
        "train_protocol": loader.protocol.to_dict(),
        "augmentation": loader.augmentation.to_dict(),
        "clips_per_video": settings.clips_per_video,
        "class_weights": settings.class_weights,
        "dropout": settings.dropout,
        "sync_bn": settings.sync_bn,
    }


def _shown(video: Video) -> list:
    """What is learnt from, or judged by, a video."""
    return [video.video_id, canonical_label(video.label), video.start_seconds, video.end_seconds]


def facts(run: Run) -> dict:
    """The part of the report that is known before the first step."""
    settings, network, loader = run.settings, run.start.network, run.loader
    known = {
        "model": {
            "architecture": network.name,
            "began_with": run.start.weights,
            "parameters": network.count_params(),
            "classes": list(run.spec.classes),
        },
        "dataset": {"name": settings.dataset, "notes": list(run.data.notes)},
        "settings": plain_settings(settings),
        "protocol": run.spec.protocol.to_dict(),
        "environment": environment() | {"backend": keras.backend.backend()},
    }
    if loader is None:
        return known
    return known | {
        "plan": run.plan.to_dict(),
        "train_protocol": loader.protocol.to_dict(),
        "augmentation": loader.augmentation.to_dict(),
        "steps_an_epoch": len(loader),
    }


def plain_settings(settings: TrainSettings) -> dict:
    """The settings as `report.json` has them."""
    return {name: _plain(value) for name, value in asdict(settings).items()}


def _file_digest(name: str) -> str | None:
    return sha256_of(Path(name)) if Path(name).is_file() else None


def _digest(names) -> str:
    return hashlib.sha256(json.dumps(list(names)).encode(errors="surrogateescape")).hexdigest()


def _plain(value):
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
