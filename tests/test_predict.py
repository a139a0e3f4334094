import numpy as np
import pandas as pd
import pytest
from conftest import COLORS, solid, write_video

from vidbench.data.datasets import load_dataset
from vidbench.data.load import Failure, VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.models.spec import Spec
from vidbench.predict import Prediction, compute_accuracy, evaluate, predict, row_hits, score
from vidbench.utils import UserError


class Brightest:
    """A classifier in NumPy: the mean of each channel is its logit; it notes the shapes that it is given."""

    def __init__(self, protocol, clips_at_once=1):
        self.spec = Spec("brightest", ("red", "green", "blue"), protocol)
        self.clips_at_once, self.in_flight = clips_at_once, 0
        self.seen = []

    def __call__(self, frames):
        self.seen.append(frames.shape)
        return frames.mean(axis=(1, 2, 3)).astype(np.float32) / 100

    def start(self, frames):
        logits = self(frames)
        return lambda: logits


PLAIN = Protocol(num_frames=4, resize="exact", resize_to=(16, 16), crop=None)


@pytest.fixture
def videos(tmp_path):
    rows = [Video(name, write_video(tmp_path / f"{name}.mkv", solid(color)), name) for name, color in COLORS.items()]
    return [*rows, Video("gone", tmp_path / "gone.mkv", "red"), Video("what", rows[0].path)]


def test_predict_sorts_probabilities_and_names():
    clips = np.stack([solid((255, 0, 0), 4), solid((10, 100, 200), 4)])
    probabilities, labels, seconds, best = predict(clips, Brightest(PLAIN))
    assert labels.tolist() == [["red", "green", "blue"], ["blue", "green", "red"]] and best.tolist() == [0, 2]
    assert np.allclose(probabilities.sum(axis=1), 1) and (np.diff(probabilities, axis=1) <= 0).all()
    assert probabilities[0, 0] == pytest.approx(np.exp(2.55) / (np.exp(2.55) + 2)) and seconds > 0
    assert predict(clips[0], Brightest(PLAIN))[0].shape == (1, 3)
    with pytest.raises(ValueError, match=r"wanted .* uint8 RGB, got"):
        predict(clips.astype(np.float32), Brightest(PLAIN))


def test_predict_can_talk(capsys):
    predict(solid((255, 0, 0), 4), Brightest(PLAIN), verbose=True)
    assert capsys.readouterr().out.startswith("clip 0: red 86.5%, green 6.8%")


def test_evaluate_gives_rows_in_order_and_hands_every_outcome_on(videos):
    outcomes = []
    rows = evaluate(Brightest(PLAIN), VideoLoader(videos, PLAIN), top_n=2, sink=outcomes.append)
    assert list(rows.columns) == ["video_id", "label", "pred_1", "score_1", "pred_2", "score_2"]
    assert rows["video_id"].tolist() == ["blue", "green", "red", "what"]
    assert rows["pred_1"].tolist() == ["blue", "green", "red", "blue"] and rows["label"].tolist()[-1] == ""
    assert [type(item) for item in outcomes] == [Prediction] * 3 + [Failure, Prediction]
    assert compute_accuracy(rows, num_top_classes=1) == 100.0


@pytest.mark.parametrize(("clips_at_once", "batches"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (8, [4])])
def test_as_many_views_are_gathered_as_the_model_takes_at_once(videos, clips_at_once, batches):
    model = Brightest(PLAIN, clips_at_once)
    outcomes = list(score(model, VideoLoader(videos, PLAIN)))
    assert [shape[0] for shape in model.seen] == batches
    assert [outcome.video.video_id for outcome in outcomes] == [video.video_id for video in videos]


def test_probabilities_not_logits_are_averaged_over_views(tmp_path):
    frames = np.concatenate([solid((255, 0, 0), 4), solid((0, 0, 255), 4)])
    protocol = Protocol("clips", num_frames=4, frame_rate=10, clips=2, resize="exact", resize_to=(16, 16), crop=None)
    loader = VideoLoader([Video("both", write_video(tmp_path / "x.mkv", frames))], protocol)
    (outcome,) = score(Brightest(protocol), loader)
    high = np.exp(2.55) / (np.exp(2.55) + 2)
    low = 1 / (np.exp(2.55) + 2)
    assert outcome.probabilities == pytest.approx([(high + low) / 2, low, (high + low) / 2], abs=1e-5)


def test_the_single_frame_baseline_shows_one_frame(tmp_path):
    frames = np.concatenate([solid((255, 0, 0), 5), solid((0, 0, 255), 3)])
    loader = VideoLoader([Video("x", write_video(tmp_path / "x.mkv", frames))], PLAIN)  # frames 0, 2, 4, 6
    (normal,) = score(Brightest(PLAIN), loader)
    (frozen,) = score(Brightest(PLAIN), loader, frame_order="frozen")  # frame 4, the last red one
    (halved,) = score(Brightest(PLAIN), loader, distinct_frames=1)  # frame 0
    assert normal.probabilities[0] == pytest.approx(6.770 / (6.770 + 1.892 + 1), abs=1e-3)  # exp of 3/4 and 1/4 of 2.55
    assert frozen.probabilities[0] == halved.probabilities[0] == pytest.approx(0.865, abs=0.001)


def test_accuracy_of_rows():
    rows = pd.DataFrame(
        {
            "label": ["Climb_Stairs", "b", "c", ""],
            "pred_1": ["climb stairs", "c", "b", "a"],
            "pred_2": ["b", "b", "a", "b"],
        }
    )
    assert row_hits(rows, 1).tolist() == [True, False, False]
    assert compute_accuracy(rows, num_top_classes=2) == pytest.approx(200 / 3)
    with pytest.raises(UserError, match="needs the column pred_3: score with --top-n 3"):
        compute_accuracy(rows, num_top_classes=3)
    with pytest.raises(UserError, match="no row has a label"):
        compute_accuracy(rows[3:], num_top_classes=1)


def folder_videos(folder):
    return list(load_dataset("folder", "val", folder).videos)


class Slowly:
    """A runtime whose logits are calculated when they are asked for; the mean colour is the logits."""

    name, precision = "slowly", "float32"

    def __init__(self):
        self.begun, self.most, self.asked = 0, 0, []

    def begin(self, frames):
        self.begun += 1
        self.most = max(self.most, self.begun - len(self.asked))
        return self.Later(self, frames)

    class Later:
        def __init__(self, runtime, frames):
            self.runtime, self.frames = runtime, frames

        def __array__(self, dtype=None, copy=None):
            self.runtime.asked.append(len(self.frames))
            return self.frames.mean(axis=(1, 2, 3)).astype(np.float32)


@pytest.mark.parametrize(("in_flight", "at_once"), [(0, 1), (2, 1), (2, 4), (1, 20)])
def test_batches_in_flight_change_nothing_but_the_time(color_folder, in_flight, at_once):
    from vidbench.models import Classifier

    videos = [Video("gone", None), *folder_videos(color_folder), Video("gone too", None)]
    runtime = Slowly()
    model = Classifier(Spec("slowly", ("red", "green", "blue"), PLAIN), runtime)
    model.in_flight, model.clips_at_once = in_flight, at_once
    outcomes = list(score(model, VideoLoader(videos, PLAIN)))
    assert [outcome.video for outcome in outcomes] == videos
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [True, *[False] * 9, True]
    for outcome in outcomes[1:-1]:
        assert outcome.probabilities.argmax() == ("red", "green", "blue").index(outcome.video.label)
    assert runtime.most <= in_flight + 1 and runtime.asked == [at_once] * -(-9 // at_once)
