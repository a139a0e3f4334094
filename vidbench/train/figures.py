"""Pictures of a run: its learning curves, and val clips with what the best model says of them."""

from pathlib import Path

import numpy as np

from vidbench import visualize
from vidbench.arguments import TrainSettings
from vidbench.data.load import Sample
from vidbench.metrics import ranking
from vidbench.models import load_model
from vidbench.predict import Prediction, score
from vidbench.prepare import list_videos, loader_of
from vidbench.train.scoring import evaluation

EXAMPLES = 4  # clips that are shown
SHOWN = 5  # classes a clip


def draw_figures(settings: TrainSettings, folder: Path, rows: list[dict]) -> list[Path]:
    """Write `curves.png` and, for MLflow, `examples/<n>.png` into a run's folder; returns their paths."""
    paths = [folder / "curves.png"]
    visualize.save_figure(visualize.learning_curves(rows), paths[0])
    if settings.mlflow:
        paths += _examples(settings, folder)
    return paths


def _examples(settings: TrainSettings, folder: Path) -> list[Path]:
    wanted = evaluation(settings, folder, folder / "best.keras", "val", settings.val_split)
    model = load_model(folder / "best.keras")
    _, videos = list_videos(wanted)
    paths = []
    for outcome in score(model, loader_of(wanted, videos[:EXAMPLES], model.spec.protocol)):
        if isinstance(outcome, Prediction):
            paths.append(folder / "examples" / f"{len(paths)}.png")
            visualize.save_figure(_example(outcome.sample, outcome.probabilities, model.spec.classes), paths[-1])
    return paths


def _example(sample: Sample, probabilities: np.ndarray, classes: tuple[str, ...]):
    """The clip's middle frame beside bars of its likeliest classes."""
    best = ranking(probabilities)[:SHOWN]
    frames = sample.clip().frames
    names = [classes[index] for index in best]
    return visualize.probability_bars(frames[len(frames) // 2], probabilities[best], names, sample.video.label)
