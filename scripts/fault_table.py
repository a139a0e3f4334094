"""What six single mistakes cost on the demo, and which of them a run's verdict names: a table for the README."""

import tempfile
from dataclasses import replace
from pathlib import Path

from vidbench.arguments import EvaluateSettings
from vidbench.commands import command_errors
from vidbench.models import Classifier, spec_of
from vidbench.prepare import load_classifier
from vidbench.report.verdict import judgement
from vidbench.run import evaluate_run

HALF_RATE = 12.0  # at which 16 frames last 1.3 s: half of the demo's clips


class BlueGreenRed(Classifier):
    """A classifier whose frames reach the network with their channels in OpenCV's order."""

    def __call__(self, frames):
        """As `Classifier`."""
        return super().__call__(frames[..., ::-1])


def reports(folder: Path, num_videos: int = 0) -> dict[str, dict]:
    """The reports of the demo as it should be scored, and with one mistake each; runs are written into `folder`.

    num_videos: of the demo's seeded order, 0 for all.
    """
    right = EvaluateSettings(results_dir=folder, num_videos=num_videos, cache=False)
    first, *others = spec_of("demo").classes
    names = folder / "classes.txt"
    names.write_text("\n".join((*others, first)) + "\n", encoding="utf-8")
    mistakes = {
        "none": {},
        "blue, green, red for red, green, blue": {},
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
        if mistake.startswith("blue"):
            model.__class__ = BlueGreenRed
        found[mistake] = evaluate_run(settings, model=model)
    return found


def main() -> None:
    """Print the table."""
    with command_errors("fault_table"), tempfile.TemporaryDirectory() as folder:
        print("| mistake | top-1 | the verdict |\n|---|---|---|")
        for mistake, report in reports(Path(folder)).items():
            top1 = report["metrics"]["top1"]
            low, high = (100 * bound for bound in top1["ci95"])
            words = "; ".join(report["reasons"]) or judgement(report)
            print(f"| {mistake} | {100 * top1['value']:.1f} ({low:.0f} to {high:.0f}) | {words} |")


if __name__ == "__main__":
    main()
