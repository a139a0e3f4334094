import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vidbench.data.decode import Decoded, VideoInfo
from vidbench.data.load import Failure, Sample
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.predict import Prediction
from vidbench.results import RunFolder, read_report, read_run, run_table
from vidbench.utils import UserError

CLASSES = ("a", 'b, "quoted"', "c")


def prediction(key: str, seed: int, label: str | None = "a", num_views: int = 1) -> Prediction:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    decoded = Decoded(frames, np.zeros(1), np.zeros((1, 1), np.int64), VideoInfo(9, 29.97, 4, 2, 0.3), seed % 2 == 0)
    views = np.random.default_rng(seed).dirichlet(np.ones(3), num_views).astype(np.float32)
    return Prediction(Sample(Video(key, Path("x"), label, group=f"g{seed}"), decoded, Protocol()), views)


KEYS = [f'v,"{n}"\n☃' for n in range(6)]  # ids are file names: they may hold anything
OUTCOMES = [prediction(key, n) for n, key in enumerate(KEYS)]


def opened(folder, identity=None, **options) -> RunFolder:
    return RunFolder(folder, identity or {"seed": 0, "protocol": {"num_frames": 8}}, CLASSES, 2, KEYS, **options)


def nothing(run) -> dict:
    return {}


def finished(folder, outcomes) -> bytes:
    with opened(folder) as run:
        for outcome in outcomes:
            if outcome.video.video_id not in run.done:
                run(outcome)
        run.finish(nothing)
    return (folder / "predictions.csv").read_bytes()


def test_rows_and_scores_come_back(tmp_path):
    finished(tmp_path / "run", OUTCOMES)
    rows = run_table(tmp_path / "run" / "predictions.csv")
    assert rows["video_id"].tolist() == KEYS and list(rows.columns)[2:] == ["pred_1", "score_1", "pred_2", "score_2"]
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert scores["video_ids"].tolist() == KEYS and scores["classes"].tolist() == list(CLASSES)
        assert scores["probabilities"].dtype == np.float16
        assert np.allclose(scores["probabilities"], [item.probabilities for item in OUTCOMES], atol=1e-3)
    videos = run_table(tmp_path / "run" / "videos.csv")
    assert videos["repeated"].tolist() == ["1", "0"] * 3 and videos["fps"].tolist() == ["29.97"] * 6
    assert (tmp_path / "run" / "listed.txt").read_text().count("☃") == 6
    assert not (tmp_path / "run" / "scores.part").exists()


@pytest.mark.parametrize("keep", [0.0, 0.13, 0.31, 0.5, 0.77, 0.98, 1.0])
@pytest.mark.parametrize("name", ["predictions.csv", "videos.csv", "scores.part"])
def test_a_run_that_was_killed_ends_the_same(tmp_path, name, keep):
    whole = finished(tmp_path / "whole", OUTCOMES)
    with opened(tmp_path / "killed") as run:
        for outcome in OUTCOMES[:4]:
            run(outcome)
    path = tmp_path / "killed" / name
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert finished(tmp_path / "killed", OUTCOMES) == whole


def test_a_finished_run_is_extended_in_the_order_of_the_listing(tmp_path):
    whole = finished(tmp_path / "whole", OUTCOMES)
    finished(tmp_path / "less", OUTCOMES[1::2])
    assert finished(tmp_path / "less", OUTCOMES) == whole
    with np.load(tmp_path / "less" / "scores.npz") as scores:
        assert np.allclose(scores["probabilities"], [item.probabilities for item in OUTCOMES], atol=1e-3)


def test_failures_are_tried_again(tmp_path):
    failure = Failure(OUTCOMES[0].video, "decode", "corrupt after frame 3")
    finished(tmp_path / "run", [failure, *OUTCOMES[1:]])
    rows = run_table(tmp_path / "run" / "failures.csv")
    assert rows.values.tolist() == [[KEYS[0], "x", "decode", "corrupt after frame 3"]]
    assert finished(tmp_path / "run", OUTCOMES) == finished(tmp_path / "whole", OUTCOMES)
    assert len(run_table(tmp_path / "run" / "failures.csv")) == 0


def test_another_run_is_refused_and_the_differing_settings_named(tmp_path):
    finished(tmp_path / "run", OUTCOMES)
    with pytest.raises(UserError, match=r"holds another run: seed is 0 there and 1 here"):
        opened(tmp_path / "run", {"seed": 1, "protocol": {"num_frames": 8}})
    with opened(tmp_path / "run", {"seed": 1}, overwrite=True) as run:
        assert run.done == set()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("months of work")
    with pytest.raises(UserError, match=r"holds no run of vidbench but 'thesis.txt'"):
        opened(tmp_path)
    with opened(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "months of work"


def test_one_process_at_a_time(tmp_path):
    with opened(tmp_path / "run"), pytest.raises(UserError, match="another process is writing"):
        opened(tmp_path / "run")
    opened(tmp_path / "run").close()


def test_reports_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(UserError, match="is no report of a run"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UserError, match="is no report of a run"):
        read_report(tmp_path)


def test_labels_stay_text(tmp_path):
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label"], ["NA"], ["None"], ["007"]])
    assert run_table(tmp_path / "x.csv").equals(pd.DataFrame({"label": ["NA", "None", "007"]}, dtype=str))


def test_what_a_killed_start_left_half_written_is_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".report.json.0123.part").write_text("{")
    finished(tmp_path / "run", OUTCOMES)
    assert not list((tmp_path / "run").glob("*.part")) and not list((tmp_path / "run").glob(".*.part"))


def test_failures_reach_the_disk_as_they_come(tmp_path):
    run = opened(tmp_path / "run")
    run(Failure(OUTCOMES[0].video, "decode", "corrupt after frame 3"))
    assert run_table(tmp_path / "run" / "failures.csv")["reason"].tolist() == ["corrupt after frame 3"]
    run.close()


def test_another_folders_rows_are_adopted(tmp_path):
    finished(tmp_path / "odd", [Failure(OUTCOMES[0].video, "open", "empty file"), OUTCOMES[1], OUTCOMES[3]])
    finished(tmp_path / "even", [OUTCOMES[2], OUTCOMES[4], OUTCOMES[5]])
    with opened(tmp_path / "both") as run:
        run.adopt(tmp_path / "odd")
        run.adopt(tmp_path / "even")
        run.finish(nothing)
    assert run_table(tmp_path / "both" / "predictions.csv")["video_id"].tolist() == KEYS[1:]
    assert run_table(tmp_path / "both" / "failures.csv")["video_id"].tolist() == KEYS[:1]


def with_views(key: str, seed: int) -> Prediction:
    return prediction(key, seed, num_views=4)


def test_a_run_reads_back_also_while_it_is_written(tmp_path):
    keys = [f"v{n}" for n in range(4)]
    outcomes = [with_views(key, n) for n, key in enumerate(keys)]
    record = {"protocol": {"clips": 2, "crops": 2}}
    run = RunFolder(tmp_path / "run", {}, CLASSES, 2, keys, record, views=4)
    for outcome in outcomes[1:3]:
        run(outcome)
    half = read_run(tmp_path / "run")
    assert half.report["status"] == "running" and half.classes == CLASSES and half.order == tuple(keys)
    assert half.predictions["video_id"].tolist() == half.videos["video_id"].tolist() == ["v1", "v2"]
    for outcome in (outcomes[3], Failure(outcomes[0].video, "open", "empty file")):
        run(outcome)
    run.finish(lambda stored: record)
    run.close()
    whole = read_run(tmp_path / "run")
    assert whole.views.shape == (3, 4, 3) and whole.failures["video_id"].tolist() == ["v0"]
    assert np.allclose(whole.views, [item.views for item in outcomes[1:]], atol=1e-3)
    assert np.allclose(whole.probabilities, [item.probabilities for item in outcomes[1:]], atol=1e-3)
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert np.array_equal(scores["views"], whole.views) and scores["probabilities"].dtype == np.float16
        assert np.array_equal(scores["probabilities"], whole.probabilities)


def test_predictions_without_scores_are_damage(tmp_path):
    with RunFolder(tmp_path / "run", {}, CLASSES, 2, ["v0", "v1"], {"protocol": {"clips": 1, "crops": 1}}) as run:
        run(prediction("v0", 0))
        run.finish(lambda stored: {"protocol": {"clips": 1, "crops": 1}})
    with (tmp_path / "run" / "predictions.csv").open("a") as file:
        file.write("v1,a,a,0.5,c,0.2\n")
    with pytest.raises(UserError, match="damaged: 1 predictions lack their scores"):
        read_run(tmp_path / "run")
