"""Arrays and reports → pictures: clips that move, figures, widgets."""

from vidbench.visualize.figures import (
    accuracy_bars,
    class_bars,
    comparison,
    film_strip,
    frame_choice,
    learning_curves,
    probability_bars,
)
from vidbench.visualize.moving import apng, moving, save_apng, tile
from vidbench.visualize.style import PLAIN, RIGHT, UNSURE, WRONG, new_figure, save_figure

__all__ = [
    "PLAIN",
    "RIGHT",
    "UNSURE",
    "WRONG",
    "accuracy_bars",
    "apng",
    "class_bars",
    "comparison",
    "film_strip",
    "frame_choice",
    "learning_curves",
    "moving",
    "new_figure",
    "probability_bars",
    "save_apng",
    "save_figure",
    "tile",
]
