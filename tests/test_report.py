import subprocess
import sys

import pandas as pd
import pytest

from vidbench.metrics import wilson_interval
from vidbench.report import accuracies, count, environment, merge
from vidbench.report.__main__ import main
from vidbench.utils import UserError


def rows(labels, guesses, groups=None):
    """Predictions and videos of a run over len(labels) videos, two guesses each."""
    keys = [f"v{n}" for n in range(len(labels))]
    first, second = zip(*guesses, strict=True)
    predictions = pd.DataFrame({"video_id": keys, "label": labels, "pred_1": first, "pred_2": second})
    videos = pd.DataFrame(
        {"video_id": keys, "group": groups or [""] * len(keys), "repeated": ["0", "1"] * (len(keys) // 2)}
    )
    return predictions, videos


def test_counts_add_up():
    predictions, videos = rows(["a", "", "b", "a"], [("a", "b")] * 4)
    failures = pd.DataFrame({"stage": ["find", "find", "open", "decode", "sample"]})
    assert count(9, predictions, failures, videos) == {
        "listed": 9, "found": 7, "decoded": 5, "scored": 4, "failed": 5, "unlabelled": 1, "repeated": 2,
    }  # fmt: skip


def test_accuracies_by_hand():
    predictions, videos = rows(["a", "A", "b", "c"], [("a", "b"), ("b", "a"), ("c", "a"), ("c", "b")])
    numbers = accuracies(predictions, videos, top_n=2, num_classes=8, level="video")
    assert numbers["top1"]["value"] == 0.5 and numbers["top1"]["ci95"] == list(wilson_interval(2, 4))
    assert numbers["top2"]["value"] == 0.75 and numbers["top2"]["chance"] == 0.25
    assert numbers["mean_class_accuracy"]["value"] == 0.5  # a: one of two, b: none, c: all
    assert accuracies(predictions.assign(label=""), videos, 2, 8, "video") == {}


def test_groups_widen_the_interval():
    guesses = [("a", "b")] * 20 + [("b", "a")] * 20
    alone = accuracies(*rows(["a"] * 40, guesses), 1, 8, "video")["top1"]["ci95"]
    grouped = accuracies(*rows(["a"] * 40, guesses, [f"g{n // 10}" for n in range(40)]), 1, 8, "video")["top1"]["ci95"]
    assert grouped[1] - grouped[0] > alone[1] - alone[0]


def test_top_n_is_no_more_than_the_classes():
    predictions, videos = rows(["a", "b"], [("a", "b"), ("a", "b")])
    assert set(accuracies(predictions, videos, 5, 2, "clip")) == {"top1", "top2", "mean_class_accuracy"}


def test_the_environment_names_what_matters():
    facts = environment()
    assert facts["tensorflow"].startswith("2.") and facts["opencv"] and facts["usable_cpus"] >= 1 and facts["cpu"]


def test_what_cannot_be_merged_is_one_line(tmp_path, capsys):
    with pytest.raises(UserError, match="holds no run"):
        merge([tmp_path], tmp_path / "out")
    with pytest.raises(SystemExit) as caught:
        main(["merge", str(tmp_path), "--out", str(tmp_path / "out")])
    assert caught.value.code == 1 and capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_it_is_a_command():
    done = subprocess.run([sys.executable, "-m", "vidbench.report", "merge"], capture_output=True, text=True)
    assert done.returncode == 2 and "DIR" in done.stderr
