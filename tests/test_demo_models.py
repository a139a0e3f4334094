"""The shipped models do on the shipped clips what the README says of them."""

import numpy as np
import pytest

from vidbench.data.datasets import load_dataset
from vidbench.data.datasets.tables import read_table
from vidbench.data.demo import KINDS, PARTNER
from vidbench.data.load import VideoLoader
from vidbench.metrics import wilson_interval
from vidbench.models import load_model
from vidbench.predict import evaluate, row_hits, score


@pytest.fixture(scope="module")
def samples():
    model = load_model("demo")
    return list(VideoLoader(load_dataset("demo", "val").videos, model.spec.protocol))


def accuracy(table, classes=None):
    rows = table if classes is None else table[table["label"].isin(classes)]
    return row_hits(rows, 1).mean()


@pytest.fixture(scope="module")
def normal(samples):
    return evaluate(load_model("demo"), samples)


def test_the_demo_model_is_good_but_not_perfect(samples, normal):
    assert len(normal) == 160 and 0.85 <= accuracy(normal) <= 0.95
    rows = read_table(samples[0].video.path.parents[1] / "attributes.csv", {"video_id", "level"})
    hard = {row["video_id"] for row in rows if row["level"] == "2"}
    assert 0.70 <= row_hits(normal[normal["video_id"].isin(hard)], 1).mean() <= 0.85


def test_the_order_pairs_need_the_order_of_time(samples):
    shuffled = evaluate(load_model("demo"), samples, frame_order="shuffled")
    assert accuracy(shuffled, KINDS["order"]) <= 0.6
    backwards = evaluate(load_model("demo"), samples, frame_order="reversed")
    pairs = backwards[backwards["label"].isin(list(PARTNER))]
    assert (pairs["pred_1"] == pairs["label"].map(PARTNER)).mean() >= 0.8


def test_the_twin_is_blind_to_time_but_not_to_poses(samples):
    twin = load_model("demo-frames")
    outcomes = list(score(twin, samples))
    shuffled = list(score(twin, samples, frame_order="shuffled"))
    assert all(
        np.allclose(a.probabilities, b.probabilities, atol=1e-4) for a, b in zip(outcomes, shuffled, strict=True)
    )
    for first in ("picking up a box", "sitting down"):
        names = (first, PARTNER[first])
        places = [twin.spec.classes.index(name) for name in names]
        inside = [item for item in outcomes if item.video.label in names]
        right = sum(names[int(item.probabilities[places].argmax())] == item.video.label for item in inside)
        low, high = wilson_interval(right, len(inside))
        assert low <= 0.5 <= high, f"{right} of {len(inside)} of the pair {names}"
    assert accuracy(evaluate(twin, samples), KINDS["pose"]) > 0.5


def test_what_ships_is_small(samples):
    folder = samples[0].video.path.parents[1]
    assert sum(path.stat().st_size for path in (folder / "val").iterdir()) <= 4e6
    assert sum(path.stat().st_size for path in folder.glob("*.keras")) <= 3e6
