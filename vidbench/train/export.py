"""The end of a run: its best model for other runtimes, in a folder to hand over."""

import logging
import shutil
from pathlib import Path

import numpy as np

from vidbench.arguments import TrainSettings
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.records import Video
from vidbench.export import export_model
from vidbench.handover import write_handover
from vidbench.models import Classifier
from vidbench.predict import row_hits
from vidbench.prepare import find_dataset
from vidbench.results import run_table
from vidbench.runtimes import on_jax
from vidbench.utils import UserError

log = logging.getLogger(__name__)
CHECKED_VIDEOS = 2  # real ones, with which an export is compared with Keras
TRIED_VIDEOS = 8  # of which these are the first that can be read


def export_run(settings: TrainSettings, model: Classifier, folder: Path, report: dict) -> dict:
    """Write `folder/export` as the settings say; {format: what was written}, {} for `--export none`.

    With ONNX and pixels as input it is a folder to hand over, see `vidbench.handover`.
    Raises UserError where the model cannot be exported, or no val video is there to check it with.
    """
    formats = [name for name in settings.export if name != "none"]
    if not formats:
        return {}
    if on_jax():
        raise UserError("export runs on TensorFlow: start train.py --export-only without KERAS_BACKEND=jax")
    samples = _samples(settings, model)
    target, found = folder / "export", {}
    for kind in ("saved_model", "openvino"):  # of an earlier export: a hand-over stands alone
        shutil.rmtree(target / kind, ignore_errors=True)
    if "onnx" in formats and settings.export_input == "uint8":
        write_handover(target, model, samples[0].video.path, facts_of(settings, folder, report))
        found["onnx"] = str(target / "model.onnx")
        formats.remove("onnx")
    if formats:
        clips = np.concatenate([sample.views()[:1] for sample in samples])
        made = export_model(model, target, formats, settings.export_input, clips=clips, licence=settings.licence)
        found |= {kind: told["path"] for kind, told in made.items()}
    return found


def facts_of(settings: TrainSettings, folder: Path, report: dict) -> dict:
    """What the model card tells beside the spec: data, counts, accuracies; of test where it was scored, else of val."""
    scored = next((split for split in ("test", "val") if split in report), None)
    facts = {
        "dataset": "; ".join([settings.dataset, *report.get("dataset", {}).get("notes", [])]),
        "licence": settings.licence,
    }
    if "counts" in report:
        facts["counts"] = {"train": report["counts"]["listed"]}
        facts["counts"] |= {split: report[split]["counts"]["scored"] for split in ("val", "test") if split in report}
    if scored:
        facts["metrics"] = report[scored]["metrics"]
        facts["scored_on"] = f"the {scored} split" + (", which chose the best epoch" if scored == "val" else "")
        facts["per_class"] = per_class(folder / scored)
    return facts


def per_class(folder: Path) -> dict[str, float]:
    """{class: share of its scored videos that are right} of a run of evaluate.py."""
    rows = run_table(folder / "predictions.csv")
    rows = rows[rows["label"] != ""]
    return {str(name): float(row_hits(part, 1).mean()) for name, part in rows.groupby("label")}


def _samples(settings: TrainSettings, model: Classifier) -> list[Sample]:
    """The first val videos that are files and can be read."""
    listed = [video for video in find_dataset(settings, settings.val_split).videos if _is_whole_file(video)]
    found = VideoLoader(listed[:TRIED_VIDEOS], model.spec.protocol, workers=1)
    samples = [item for item in found if isinstance(item, Sample)][:CHECKED_VIDEOS]
    if not samples:
        raise UserError(
            f"split {settings.val_split} has no video file that can be read: nothing to check an export with"
        )
    return samples


def _is_whole_file(video: Video) -> bool:
    return bool(video.path) and video.path.is_file() and video.start_seconds is None and video.end_seconds is None
