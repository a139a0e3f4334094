"""Six single mistakes that an evaluation is prone to, made on purpose: what they cost, and which a verdict names."""

from dataclasses import replace
from pathlib import Path

from vidbench.arguments import EvaluateSettings
from vidbench.models import Classifier, spec_of
from vidbench.prepare import load_classifier
from vidbench.run import evaluate_run

HALF_RATE = 12.0  # at which 16 frames last 1.3 s: half of the demo's clips
CHANNELS = "blue, green, red for red, green, blue"


class BlueGreenRed(Classifier):
    """A classifier whose frames reach the network with their channels in OpenCV's order."""

    def start(self, frames):
        """As `Classifier`, which calls it."""
        return super().start(frames[..., ::-1])


def fault_reports(folder: Path, num_videos: int = 0) -> dict[str, dict]:
    """The reports of the demo as it should be scored ("none"), and with one mistake each; the runs lie in `folder`.

    num_videos: of the demo's seeded order, 0 for all. A report's `folder` is that of its run; the clips that several
    runs share are decoded once, into `folder/cache`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    right = EvaluateSettings(results_dir=folder, num_videos=num_videos, cache_dir=folder / "cache")
    names = folder / "classes.txt"
    first, *others = spec_of("demo").classes
    names.write_text("\n".join((*others, first)) + "\n", encoding="utf-8")
    mistakes = {
        "none": {},
        CHANNELS: {},
        "pixels in -1…1 for 0…1": {"value_range": (-1.0, 1.0)},
        "a square, squeezed, for the whole frame": {"resize_type": "crop"},
        "30 frames a second for 16 of the whole video": {"frame_rate": 30.0, "views": (3, 1)},
        "one clip for the whole video": {"frame_rate": HALF_RATE},
        "class names in another order": {"model_classes": names},
    }
    found = {}
    for number, (mistake, changes) in enumerate(mistakes.items()):
        settings = replace(right, name=f"fault{number}", **changes)
        model = load_classifier(settings)
        if mistake == CHANNELS:
            model.__class__ = BlueGreenRed
        found[mistake] = evaluate_run(settings, model=model)
    return found
