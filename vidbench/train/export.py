"""The end of a run: its best model for other runtimes, in a folder to hand over."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np

from vidbench.arguments import TrainSettings
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.records import Video
from vidbench.export import export_model
from vidbench.handover import SCRIPT, finish_swap, write_handover
from vidbench.models import Classifier
from vidbench.models.spec import weights_digest
from vidbench.predict import row_hits
from vidbench.prepare import find_dataset
from vidbench.results import read_report, run_table
from vidbench.runtimes import on_jax
from vidbench.utils import UserError

log = logging.getLogger(__name__)
CHECKED_VIDEOS = 2  # real ones, with which an export is compared with Keras
TRIED_VIDEOS = 8  # of which these are the first that can be read


def export_run(
    settings: TrainSettings, model: Classifier, folder: Path, report: dict, name: str = "export"
) -> dict[str, str]:
    """Write `folder/<name>` as the settings say; {format: what was written}, {} for `--export none`.

    With ONNX, pixels as input and a video file in the val split it is a folder to hand over, see `vidbench.handover`.
    Normalised frames as input go to `float32/` in it. Earlier exports in other formats stay. `report`, the run's, is
    told of no other model than the run's best.

    Raises UserError where the model cannot be exported, or no val video is there to check it with.
    """
    formats = [kind for kind in settings.export if kind != "none"]
    if not formats:
        return {}
    if on_jax():
        raise UserError("export runs on TensorFlow: start train.py --export-only without KERAS_BACKEND=jax")
    target, found = folder / name, {}
    _sweep(target)
    samples = _samples(settings, model)
    if settings.export_input == "float32":
        target /= "float32"
    elif "onnx" in formats and _is_whole_file(samples[0].video):
        write_handover(target, model, samples[0].video.path, facts_of(settings, model, folder, report))
        found["onnx"] = str(target / "model.onnx")
        formats.remove("onnx")
    elif "onnx" in formats:
        if (target / SCRIPT.name).exists():
            raise UserError(f"{target} holds a hand-over, and no video file is here for another: move it away")
        log.warning("no val video is a whole file, so there is no example for a hand-over: model.onnx goes alone")
    if formats:
        clips = np.concatenate([sample.views()[:1] for sample in samples])
        made = export_model(model, target, formats, settings.export_input, clips=clips, licence=settings.licence)
        found |= {kind: told["path"] for kind, told in made.items()}
    return found


def facts_of(settings: TrainSettings, model: Classifier, folder: Path, report: dict) -> dict:
    """What the model card tells beside the spec: data, counts, accuracies; of test where it was scored, else of val.

    The licence alone unless the model is the run's best: the report tells of no other.
    """
    facts, best = {"licence": settings.licence}, folder / "best.keras"
    if not best.is_file() or weights_digest(best) != model.weights_sha256:
        return facts
    if "dataset" in report:
        facts["dataset"] = "; ".join([report["dataset"]["name"], *report["dataset"]["notes"]])
    if "counts" in report:
        facts["counts"] = {"train": report["counts"]["listed"]}
        facts["counts"] |= {split: report[split]["counts"]["scored"] for split in ("val", "test") if split in report}
    if scored := next((split for split in ("test", "val") if split in report), None):
        facts["metrics"] = json.loads(json.dumps(report[scored]["metrics"]))
        facts["scored_on"] = f"the {scored} split" + (", which chose the best epoch" if scored == "val" else "")
        there = (folder / scored / "report.json").is_file()
        if there and read_report(folder / scored)["metrics"] == facts["metrics"]:  # else scored anew, in another way
            facts["per_class"] = per_class(folder / scored)
    return facts


def per_class(folder: Path) -> dict[str, float]:
    """{class: share of its scored videos that are right} of a run of evaluate.py."""
    rows = run_table(folder / "predictions.csv")
    rows = rows[rows["label"] != ""]
    return {str(name): float(row_hits(part, 1).mean()) for name, part in rows.groupby("label")}


def _samples(settings: TrainSettings, model: Classifier) -> list[Sample]:
    """The first val videos that can be read; whole files, which can be handed over, before all others."""
    videos = find_dataset(settings, settings.val_split).videos
    listed = [video for video in videos if video.path and video.path.exists()]
    listed.sort(key=lambda video: not _is_whole_file(video))
    options = {"workers": 1, "decode_timeout": settings.decode_timeout, "frames_fps": settings.frames_fps}
    found = VideoLoader(listed[:TRIED_VIDEOS], model.spec.protocol, **options)
    samples = [item for item in found if isinstance(item, Sample)][:CHECKED_VIDEOS]
    if not samples:
        raise UserError(f"split {settings.val_split} has no video that can be read: nothing to check an export with")
    return samples


def _is_whole_file(video: Video) -> bool:
    return video.path.is_file() and video.start_seconds is None and video.end_seconds is None


def _sweep(target: Path) -> None:
    """Clear away what a killed export left half done."""
    finish_swap(target)
    for left in [*target.glob(".exporting-*"), *target.glob("float32/.exporting-*")]:
        shutil.rmtree(left, ignore_errors=True)
