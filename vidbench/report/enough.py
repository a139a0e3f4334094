"""Stop when it is enough: a run's order is seeded, so its beginning is a random sample of the whole."""

import numpy as np

from vidbench import metrics
from vidbench.data.records import Video
from vidbench.predict import Outcome, Prediction, row_hits
from vidbench.results import RunFolder, run_table
from vidbench.utils import canonical_label


class Enough:
    """A sink that hands outcomes on to a run's folder and knows when top-1 is certain enough.

    until: the half-width of its 95 % interval, in points, that is enough; None: never. videos: of the run, for the
    recordings that they come from. Videos that were scored before count too.
    """

    def __init__(self, until: float | None, videos: list[Video], run: RunFolder):
        self.until, self._run = until, run
        self._next, self._reached = 1, False
        self._groups = {video.video_id: video.group or video.video_id for video in videos}
        done = run_table(run.folder / "predictions.csv")
        done = done[done["label"] != ""]
        self._hits = row_hits(done, 1).tolist() if until else []
        self._seen = [self._groups[key] for key in done["video_id"]] if until else []

    def __call__(self, outcome: Outcome) -> None:
        """Hand one outcome on, and count it."""
        self._run(outcome)
        if self.until and isinstance(outcome, Prediction) and outcome.video.label is not None:
            guess = self._run.classes[int(outcome.probabilities.argmax())]
            self._hits.append(canonical_label(guess) == canonical_label(outcome.video.label))
            self._seen.append(self._groups[outcome.video.video_id])

    def reached(self) -> bool:
        """Whether it is enough. Asked often, it looks again whenever there are 2 % more videos."""
        number = len(self._hits)
        if self.until and number >= self._next and not self._reached:
            self._next = number + max(1, number // 50)
            low, high = metrics.accuracy_interval(np.array(self._hits), np.array(self._seen))
            self._reached = 50 * (high - low) <= self.until
        return self._reached
