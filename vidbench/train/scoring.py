"""Val and test, scored with a saved model as scripts/evaluate.py scores them."""

from pathlib import Path

from vidbench.arguments import EvaluateSettings, TrainSettings
from vidbench.data.records import Video
from vidbench.prepare import find_dataset
from vidbench.report import metric_lines
from vidbench.run import evaluate_run
from vidbench.train.data import place_of
from vidbench.utils import UserError

DATA = (  # the settings that say which videos a split has, and what they are called
    *("dataset", "data_dir", "kinetics_version", "fold", "csv", "gt_csv", "annotations", "population"),
    *("label_map", "classes", "frames_fps"),
)


def score_splits(
    settings: TrainSettings,
    folder: Path,
    model: Path | str,
    progress: bool = False,
    weights: str | None = None,
    prefix: str = "",
) -> dict:
    """Score the val and the test split with a trained model, as scripts/evaluate.py does.

    Writes `folder/val` and `folder/test`, with a prefix `folder/<prefix>val` and so on, runs as evaluate.py writes
    them; returns {"val": …, "test": …} with the counts and metrics of each. A test split that the settings do not name
    may be missing. `model` and `weights` are as `load_model` takes them.
    """
    splits = {} if settings.test_only else {"val": settings.val_split}
    if not settings.val_only:
        splits["test"] = settings.test_split or "test"
    results = {}
    for name, split in splits.items():
        if name == "test" and settings.test_split is None and not settings.test_only and not _is_new(settings, split):
            continue
        told = evaluation(settings, folder, model, f"{prefix}{name}", split, weights)
        report = evaluate_run(told, progress)
        results[name] = {part: report[part] for part in ("split", "counts", "metrics")}
    return results


def score_table(results: dict) -> str:
    """What `score_splits` gave, as lines for people."""
    lines = []
    for name, result in results.items():
        counts = result["counts"]
        lines.append(
            f"{name:<5} {counts['scored']:,} of {counts['listed']:,} videos scored, {counts['failed']:,} failed"
        )
        lines += metric_lines(result["metrics"])
    return "\n".join(lines)


def evaluation(
    settings: TrainSettings, folder: Path, model: Path | str, name: str, split: str, weights: str | None = None
) -> EvaluateSettings:
    """What evaluate.py is told to score one split with a trained model.

    It is float32 throughout. The protocol is the model's own; with --val-only and --test-only what the flags say.
    """
    same = (*DATA, "workers", "decode_timeout", "cache_dir", "cache", "seed", "cuda")
    options = {key: getattr(settings, key) for key in same}
    if settings.val_only or settings.test_only:
        options |= told_protocol(settings)
    return EvaluateSettings(
        model=str(model),
        weights=weights,
        split=split,
        num_videos=settings.batch_size if settings.fast_dev_run else 0,
        top_n=settings.top_n,
        results_dir=folder,
        name=name,
        overwrite=True,
        **options,
    )


def told_protocol(settings: TrainSettings) -> dict:
    """What the flags say of the protocol under which a trained model is scored, as `Protocol.override` takes it."""
    told = {"num_frames": settings.clip_len, "frame_rate": settings.frame_rate, "views": settings.views}
    if settings.short_videos != TrainSettings.short_videos:
        told["short_videos"] = settings.short_videos
    return told


def _is_new(settings: TrainSettings, split: str) -> bool:
    """Whether the data has such a split, with videos that are not train's or val's under another name."""
    splits = settings.train_split, settings.val_split
    known = {place_of(video) for other in splits for video in _videos(settings, other)}
    return any(video.path and video.label and place_of(video) not in known for video in _videos(settings, split))


def _videos(settings: TrainSettings, split: str) -> tuple[Video, ...]:
    try:
        return find_dataset(settings, split).videos
    except UserError:  # no such split
        return ()
