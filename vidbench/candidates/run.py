"""Whole commands: scripts/candidates.py train and scan."""

import logging
from collections import Counter
from collections.abc import Callable

from vidbench.arguments import CandidateScanSettings, CandidateTrainSettings
from vidbench.candidates.classifier import ImageClassifier, load_classifier, looked_for, save_classifier
from vidbench.candidates.pictures import (
    class_order,
    is_none,
    list_pictures,
    read_names,
    split_pictures,
    write_names,
)
from vidbench.candidates.scan import Scanned, Search, scan_videos
from vidbench.candidates.sources import fetch_videos, is_address, list_videos
from vidbench.candidates.training import Recipe, readable, train_classifier
from vidbench.runtimes import device_name, hide_gpus, use_all_cpus
from vidbench.utils import UserError

log = logging.getLogger(__name__)
Say = Callable[[str], None]


def train_run(settings: CandidateTrainSettings, say: Say = print) -> ImageClassifier:
    """Train, calibrate and save an image classifier: `X.keras`, `X.json`, and its class names in `X.txt`.

    Raises UserError for whatever the user can mend.
    """
    target = settings.save_checkpoint
    if target.exists() and not settings.overwrite:
        raise UserError(f"{target} is there already: choose another --save-checkpoint, or --overwrite")
    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    pictures, broken = readable(list_pictures(settings.data_dir))
    for picture in broken:
        log.warning("%s is no readable image: left out", picture.path)
    classes = class_order(picture.label for picture in pictures)
    if not any(map(is_none, classes)):
        log.warning("no class 'none of these': every frame of a video will be taken for one of the actions")
    learned, held_out = split_pictures(pictures, settings.held_out, settings.seed)
    counts = Counter(picture.label for picture in pictures)
    say(f"{len(learned):,} pictures to learn from, {len(held_out):,} held out: " + _counted(counts))
    recipe = Recipe(
        settings.feature_extractor, settings.weights, settings.image_size, settings.epochs, settings.frozen_epochs,
        settings.batch_size, settings.learning_rate, settings.seed,
    )  # fmt: skip
    classifier, _ = train_classifier(learned, held_out, recipe, say)
    save_classifier(classifier, target)
    write_names(target.with_suffix(".txt"), classifier.classes)
    say(training_line(classifier))
    say(f"written to {target}, {target.stem}.json, {target.stem}.txt")
    return classifier


def training_line(classifier: ImageClassifier) -> str:
    """What a training came to, in words."""
    held, error = classifier.record["held_out"], classifier.record["calibration_error"]
    low, high = held["ci95"]
    return (
        f"best epoch {classifier.record['provenance']['epoch']}: {held['accuracy']:.1%} [{100 * low:.1f}, "
        f"{100 * high:.1f}] of {held['pictures']:,} held-out pictures right (of {len(classifier.classes)} classes); "
        f"temperature {classifier.temperature:.2f}, calibration error {100 * error['before']:.1f} points before, "
        f"{100 * error['after']:.1f} after"
    )


def scan_run(settings: CandidateScanSettings, say: Say = print) -> Scanned:
    """Find videos, score their frames, cut candidates. Raises UserError where nothing could be scanned."""
    if not settings.cuda:
        hide_gpus()
    use_all_cpus()
    device_name()  # the first look for a GPU talks; it is held back there
    names = None if settings.class_names is None else read_names(settings.class_names)
    classifier = load_classifier(settings.image_classifier_checkpoint, names)
    search = Search(
        tuple(looked_for(classifier.classes, names)), settings.frames_per_second, settings.clip_seconds,
        settings.clip_seconds if settings.smooth_seconds is None else settings.smooth_seconds,
        settings.threshold, settings.max_clips, settings.copy, settings.batch_size,
    )  # fmt: skip
    if is_address(settings.video_path):
        videos = fetch_videos(settings.video_path, settings.out_dir / "videos")
    else:
        videos = list_videos(settings.video_path)
    scanned = scan_videos(videos, classifier, settings.out_dir, search, settings.overwrite, say)
    if not scanned.scores:
        raise UserError(
            f"none of {len(videos)} videos could be scanned, e.g. {videos[0].path.name}: {scanned.failures[0][2]}"
        )
    counts = Counter(item.label for item in scanned.candidates)
    say(f"{len(scanned.candidates)} candidates: {_counted(counts) or 'none above the threshold'}")
    failed = f", {len(scanned.failures)} failures" * bool(scanned.failures)
    say(f"written to {settings.out_dir}: candidates.csv, candidates/, scores/{failed}")
    return scanned


def _counted(counts: Counter) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items()))
