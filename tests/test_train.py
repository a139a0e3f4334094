"""Whole runs of train.py on tiny drawn videos: what they leave, and that stopping them changes nothing."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COLORS, moving_square, write_video

from vidbench.arguments import EvaluateSettings, TrainSettings
from vidbench.commands import as_argfile, parse_settings
from vidbench.data.augment import Augmentation
from vidbench.data.datasets import load_dataset
from vidbench.data.records import Video
from vidbench.models import load_model, save_model
from vidbench.results import run_table
from vidbench.run import evaluate_run
from vidbench.runtimes import on_jax
from vidbench.train import Plan, fine_tune, train_run, train_table
from vidbench.train.folder import TrainingFolder
from vidbench.train.setup import _shown
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder data set of squares before one of three colours: 4 train and 2 val videos a class."""
    return draw(tmp_path_factory.mktemp("squares"), train=4, val=2)


def draw(root, **counts):
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for name, color in COLORS.items():
            for number in range(count):
                frames = moving_square(8 + number) // 3 + np.array(color, np.uint8) // 3
                frames = frames + rng.integers(0, 60, frames.shape, dtype=np.uint8)
                write_video(root / split / name / f"{number}.mkv", frames)
    return root


def settings_in(folder, data):
    """Two epochs of three steps of the smallest network, at 24 × 32 pixels."""
    return TrainSettings(
        dataset="folder", data_dir=data, runs_dir=folder / "runs", name="run", cache_dir=folder / "cache",
        clip_len=4, train_resize_size=(24, 32), val_resize_size=(24, 32), epochs=2, batch_size=4, top_n=2,
        learning_rate=0.01, workers=1, export=("none",),
    )  # fmt: skip


@pytest.fixture
def settings(data, tmp_path):
    return settings_in(tmp_path, data)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """(settings, report) of a finished run on these data and a test split."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(data, folder / "data")
    draw(folder / "data", test=1)
    settings = settings_in(folder, folder / "data")
    return settings, train_run(settings)


@pytest.fixture
def finished(trained, tmp_path):
    """Settings whose run is finished, in a folder of its own."""
    settings, _ = trained
    shutil.copytree(settings.runs_dir, tmp_path / "runs")
    return replace(settings, runs_dir=tmp_path / "runs")


def history(settings, name="run"):
    """The rows of history.csv but for the seconds."""
    with (settings.runs_dir / name / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def weights(settings, name="run", which="last"):
    return load_model(settings.runs_dir / name / f"{which}.keras").network.get_weights()


def same(some, others):
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


def test_a_run_leaves_what_it_should(trained):
    settings, report = trained
    folder = settings.runs_dir / "run"
    assert {path.name for path in folder.iterdir()} >= {
        "best.keras", "best.json", "last.keras", "last.json", "resume.npz", "history.csv", "failures.csv",
        "report.json", "config.txt", "curves.png", "val", "test",
    }  # fmt: skip
    assert json.loads((folder / "report.json").read_text())["status"] == "done"
    rows = history(settings)
    assert [row["epoch"] for row in rows] == ["1", "2"] and list(rows[0]) == [
        "epoch", "learning_rate", "train_loss", "train_top1", "val_loss", "val_top1",
    ]  # fmt: skip
    assert report["best"] == max(report["history"], key=lambda row: (row["val_top1"], -row["val_loss"]))
    assert report["counts"] == {
        "listed": 12, "missing": 0, "unreadable": 0, "replaced_clips": 0, "left_over_an_epoch": 0,
    }  # fmt: skip
    assert (report["val"]["counts"]["scored"], report["test"]["counts"]["scored"]) == (6, 3)
    spec = load_model(folder / "best.keras").spec
    assert spec.classes == ("blue", "green", "red") and spec.protocol.num_frames == 4
    assert spec.protocol.frame_size == (24, 32) and spec.domain == "12 videos of 3 classes (folder)"
    assert spec.provenance["architecture"] == "tiny2plus1d" and spec.provenance["command"].startswith(
        "python scripts/train.py --dataset=folder"
    )
    assert "runs-dir" not in spec.provenance["command"]
    assert "val   6 of 6 videos scored" in train_table(report)


def test_its_config_repeats_it(trained):
    settings, _ = trained
    again = parse_settings(TrainSettings, [f"@{settings.runs_dir / 'run' / 'config.txt'}"])
    assert again == settings
    train_run(replace(again, name="again"))
    assert history(settings, "again") == history(settings)
    assert same(weights(settings, "again"), weights(settings))


SLOWFAST = {
    "clip_len": 8, "learning_rate": 1e-3, "train_resize_size": (48, 64), "val_resize_size": (48, 64),
    "train_crop_size": (48, 48), "val_crop_size": (48, 48),
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("tiny2plus1d", {}),
        ("tiny2plus1d", {"precision": "bfloat16"}),
        (
            "slowfast_r18",
            {"clip_len": 8, "learning_rate": 1e-3, "train_crop_size": (24, 24), "val_crop_size": (24, 24)},
        ),
    ],
)
def test_evaluate_gives_the_reported_accuracy(settings, model, more):
    """Exactly: the same probabilities, of every video, from the saved file in float32."""
    report = train_run(replace(settings, model=model, epochs=1, **more))
    best = settings.runs_dir / "run" / "best.keras"
    scored = evaluate_run(
        EvaluateSettings(
            model=str(best), dataset="folder", data_dir=settings.data_dir, split="val", cache=False,
            results_dir=settings.runs_dir, name="scored", top_n=2,
        )
    )  # fmt: skip
    assert scored["metrics"] == report["val"]["metrics"]
    rows = [run_table(settings.runs_dir / name / "predictions.csv") for name in ("scored", "run/val")]
    assert rows[0].equals(rows[1])
    if "precision" not in more:  # what chose the best epoch was this very number
        assert report["best"]["val_top1"] == pytest.approx(scored["metrics"]["top1"]["value"])


def test_the_score_is_that_of_another_data_set_too(settings, tmp_path):
    """A table with parts of files, and --annotations of split.py."""
    from vidbench.data.splitting import split_folder

    split_folder(settings.data_dir / "train", tmp_path / "split", ratios=(50, 25, 25))
    told = {"dataset": "annotations", "data_dir": None, "annotations": tmp_path / "split" / "annotations.json"}
    report = train_run(replace(settings, epochs=1, batch_size=2, **told))
    best = str(settings.runs_dir / "run" / "best.keras")
    scored = evaluate_run(EvaluateSettings(model=best, results_dir=settings.runs_dir, name="scored", top_n=2, **told))
    assert scored["metrics"] == report["val"]["metrics"] and report["test"]["counts"]["listed"] == 3


DROPPING = {"dropout": 0.5, "color_jitter": 0.3, "mixup": 0.2, "label_smoothing": 0.1}


def test_some_epochs_and_some_more_are_all_of_them(settings):
    settings = replace(settings, schedule="step", milestones=(1.5,), **DROPPING)
    train_run(replace(settings, name="whole", epochs=3))
    train_run(replace(settings, epochs=1))
    train_run(replace(settings, epochs=3))
    assert history(settings) == history(settings, "whole")
    assert same(weights(settings), weights(settings, "whole"))


@pytest.mark.parametrize("more", [{}, {"freeze_backbone": True, "unfreeze_at": 1}, {"accumulate": 2}])
def test_stopped_in_the_middle_of_an_epoch(settings, monkeypatch, caplog, more):
    """A stop after five of six steps, with a save after each of the first four."""
    from vidbench.train.loop import Training

    settings = replace(settings, save_minutes=0, **DROPPING, **more)
    train_run(replace(settings, name="whole"))
    steps = []
    learn = Training.step

    def stumble(training, batch, rate):
        if len(steps) == 4:
            raise KeyboardInterrupt
        steps.append(rate)
        return learn(training, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", stumble)
        with pytest.raises(KeyboardInterrupt):
            train_run(settings)
    train_run(settings)
    assert "at epoch 2, step 2 of 3, from its last save" in caplog.text
    assert history(settings) == history(settings, "whole")
    assert same(weights(settings), weights(settings, "whole"))
    assert same(weights(settings, which="best"), weights(settings, "whole", which="best"))


def start(settings) -> subprocess.Popen:
    argfile = settings.runs_dir.parent / "train.txt"
    argfile.write_text(as_argfile(settings))
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), f"@{argfile}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_killed_processes_go_on_from_the_last_whole_save(settings):
    """SIGKILL in mid-epoch, and while a state file is half written; each next start says where it goes on."""
    settings = replace(settings, save_minutes=0, epochs=4, **DROPPING)
    train_run(replace(settings, name="whole"))
    state = settings.runs_dir / "run" / "resume.npz"
    with start(settings) as first:
        while not state.is_file() and first.poll() is None:
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
    assert state.is_file() and len(history(settings) if (state.parent / "history.csv").is_file() else []) < 4
    (state.parent / ".resume.npz.0123456789ab.part").write_bytes(state.read_bytes()[:5000])  # as a kill leaves it
    (state.parent / ".saving-x").mkdir()
    with start(settings) as second:
        _, told = second.communicate()
    assert second.returncode == 0, told
    assert "going on with" in told and "from its last save" in told
    assert history(settings) == history(settings, "whole")
    assert same(weights(settings), weights(settings, "whole"))
    assert not list(state.parent.glob(".resume*")) and not list(state.parent.glob(".saving*"))


def test_a_finished_run_is_left_as_it_is(trained, finished, caplog):
    _, before = trained
    after = train_run(finished)
    assert "run is finished; --overwrite starts anew, more --epochs go on, --export-only exports again" in caplog.text
    assert after["val"]["metrics"] == before["val"]["metrics"] and after["history"] == before["history"]


def test_another_run_is_refused_unless_overwritten(finished):
    settings = finished
    with pytest.raises(UserError, match=r"holds another run: plan learning_rate is 0.01 there and 0.5 here"):
        train_run(replace(settings, learning_rate=0.5))
    (settings.runs_dir / "run" / "mine.txt").write_text("kept")
    report = train_run(replace(settings, learning_rate=0.5, epochs=1, overwrite=True))
    assert report["epochs"] == 1 and (settings.runs_dir / "run" / "mine.txt").read_text() == "kept"
    with pytest.raises(UserError, match=r"--resume: .* holds no run to go on with"):
        train_run(replace(settings, name="none", resume=True))
    (settings.runs_dir / "other").mkdir()
    (settings.runs_dir / "other" / "val").mkdir()
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"holds no run of train.py but 'val': choose another --name"):
            train_run(replace(settings, name="other", overwrite=overwrite))
    assert (settings.runs_dir / "other" / "val").is_dir()
    best = str(settings.runs_dir / "run" / "best.keras")
    with pytest.raises(UserError, match="holds the weights to begin with, which --overwrite would remove"):
        train_run(replace(settings, model=best, overwrite=True))


def test_what_another_run_is_is_said_in_words(finished, tmp_path, caplog):
    with pytest.raises(
        UserError, match=r"holds another run: other classes; other training videos; other val videos\. "
    ):
        train_run(replace(finished, classes=("red", "green")))
    with pytest.raises(UserError, match=r"holds another run: it holds a training, this is a probe\. To go on"):
        train_run(replace(finished, probe=True))
    with TrainingFolder(tmp_path / "probe", {"probe": True, "seed": 1}) as folder:
        folder.begin(finished, {})
    with pytest.raises(UserError, match=r"holds another run: it holds a probe, this is a training\. To go on"):
        TrainingFolder(tmp_path / "probe", {"probe": False, "plan": {"epochs": 1, "schedule": "cosine"}})
    with pytest.raises(UserError, match="holds another run: plan learning_rate"):
        train_run(replace(finished, epochs=3, learning_rate=0.5))
    assert "under a cosine schedule" not in caplog.text  # it does not go on
    assert train_run(replace(finished, epochs=3))["epochs"] == 3 and "under a cosine schedule" in caplog.text


def test_other_labels_are_another_run():
    shown = [_shown(Video("a", None, label)) for label in ("Red", "red", "green")]
    assert shown[0] == shown[1] != shown[2]


def test_a_start_that_was_killed_before_its_first_step_begins_again(settings):
    identity = {"probe": False, "plan": {"epochs": 1}}
    with TrainingFolder(settings.runs_dir / "run", identity) as folder:
        folder.begin(settings, {})
        (folder.folder / "config.txt").unlink()  # the report is written first
    with TrainingFolder(settings.runs_dir / "run", identity) as folder:
        assert folder.earlier["status"] == "running"


def test_a_damaged_state_is_one_clear_line(finished):
    settings = finished
    state = settings.runs_dir / "run" / "resume.npz"
    state.write_bytes(state.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"resume.npz is no state of a run .* --overwrite starts anew"):
        train_run(settings)


def test_unreadable_clips_are_replaced_in_training_and_fail_in_val(settings, data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    for split in ("train", "val"):
        (copy / split / "red" / "0.mkv").write_bytes(b"no video at all")
    report = train_run(replace(settings, data_dir=copy))
    assert report["counts"]["unreadable"] == 1 and report["counts"]["replaced_clips"] == 2
    failures = (settings.runs_dir / "run" / "failures.csv").read_text().splitlines()
    assert len(failures) == 2 and failures[1].startswith("red/0.mkv,")
    assert (report["val"]["counts"]["scored"], report["val"]["counts"]["failed"]) == (5, 1)
    assert "1 of 12 training videos cannot be read, other clips stood in 2 times" in train_table(report)


def broken(data, folder, *patterns):
    """A copy of the data set with unreadable files."""
    shutil.copytree(data, folder)
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        path.write_bytes(b"no video at all")
    return folder


def test_val_videos_are_looked_at_before_the_first_step(settings, data, tmp_path, monkeypatch):
    from vidbench.train.loop import Training, check_readable

    none = broken(data, tmp_path / "none", "val/*/*")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", lambda *_: pytest.fail("a step was made"))
        for more in ({}, {"probe": True}):
            with pytest.raises(UserError, match="none of the val videos can be read"):
                train_run(replace(settings, data_dir=none, **more))
        train, val = (load_dataset("folder", split, none).videos for split in ("train", "val"))
        with pytest.raises(UserError, match="none of the val videos can be read"):
            fine_tune("tiny2plus1d", train, val, 1, num_frames=4, batch_size=4, workers=1, progress=False)
    report = train_run(replace(settings, epochs=1))  # the folder was left free for another choice
    assert report["status"] == "done"
    one = broken(data, tmp_path / "one", "val/[bg]*/*", "val/red/0.mkv")
    assert train_run(replace(settings, data_dir=one, name="one", epochs=1))["val"]["counts"]["scored"] == 1
    check_readable([], lambda own: own + 1)  # another process can read one


def test_a_class_that_cannot_be_read_is_named_once(settings, data, tmp_path, caplog):
    report = train_run(replace(settings, data_dir=broken(data, tmp_path / "broken", "train/red/*", "train/blue/0.mkv")))
    assert report["unread_classes"] == ["red"] and report["counts"]["unreadable"] == 5
    (line,) = [line for line in caplog.messages if "is learnt of it" in line]
    assert line == "no training video of red can be read: nothing is learnt of it"
    assert "note: no training video of red can be read: nothing was learnt of it" in train_table(report)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_epoch(settings, monkeypatch):
    from vidbench.train.loop import Training

    learn, steps = Training.step, []

    def explode(training, batch, rate):
        steps.append(rate)
        loss, hits = learn(training, batch, rate)
        return (loss, hits) if len(steps) < 5 else (float("nan"), hits)

    monkeypatch.setattr(Training, "step", explode)
    with pytest.raises(UserError, match="the loss is nan in epoch 2, step 2"):
        train_run(settings)
    assert len(history(settings)) == 1
    assert np.isfinite(np.concatenate([value.ravel() for value in weights(settings)])).all()


def test_a_rate_that_explodes_really_gives_no_number(settings):
    with pytest.raises(UserError, match=r"the loss is (nan|inf) in epoch"):
        train_run(replace(settings, learning_rate=1e38, optimizer="sgd", warmup_epochs=0))


def test_weights_that_are_no_numbers_are_never_saved(settings, monkeypatch):
    from vidbench.train.loop import Training

    learn = Training.step

    def overflow(training, batch, rate):
        result = learn(training, batch, rate)
        variable = training.network.trainable_variables[0]
        variable.assign(np.full(variable.shape, np.nan, np.float32))
        return result

    monkeypatch.setattr(Training, "step", overflow)
    with pytest.raises(UserError, match="a weight is no number any more in epoch 1, step 1: nothing to go on with"):
        train_run(replace(settings, save_minutes=0))
    assert not (settings.runs_dir / "run" / "resume.npz").exists()


def test_patience_waits_for_the_backbone(settings):
    settings = replace(settings, learning_rate=1e-9, warmup_epochs=0, weight_decay=0, patience=1, epochs=9)
    report = train_run(replace(settings, freeze_backbone=True, unfreeze_at=4))
    assert report["epochs"] == max(5, report["best"]["epoch"] + 1)


def test_a_run_stops_early(settings):
    report = train_run(replace(settings, epochs=30, learning_rate=1e-9, warmup_epochs=0, weight_decay=0, patience=2))
    assert report["epochs"] < 30 and report["epochs"] == report["best"]["epoch"] + 2


def test_a_fast_dev_run_takes_one_batch_of_everything(settings):
    report = train_run(replace(settings, fast_dev_run=True, epochs=50))
    assert (report["epochs"], report["steps_an_epoch"], report["val"]["counts"]["listed"]) == (1, 1, 4)
    assert Path(report["folder"]).name == "run-fast-dev" and not (settings.runs_dir / "run").exists()


def test_scoring_alone(trained, finished):
    settings, (_, report) = finished, trained
    val = train_run(replace(settings, val_only=True))
    assert val["val"]["metrics"] == report["val"]["metrics"] and "test" not in val
    test = train_run(replace(settings, test_only=True))
    assert test["test"]["metrics"] == report["test"]["metrics"] and "val" not in test
    with pytest.raises(UserError, match=r"there is no trained model .*none.best.keras: give --name RUN"):
        train_run(replace(settings, name="none", val_only=True))


def test_checkpoints_are_kept_and_the_rate_is_scaled(settings, caplog):
    caplog.set_level("INFO")
    report = train_run(
        replace(settings, save_every=1, auto_scale_lr=True, base_batch_size=8, learning_rate=0.02, epochs=1)
    )
    assert (settings.runs_dir / "run" / "epoch-0001.keras").is_file()
    assert report["plan"]["learning_rate"] == 0.01
    assert "learning rate 0.02 for 8 clips an update: 0.01 for 4" in caplog.text


def test_a_trained_model_goes_on_with_other_classes(finished):
    settings = finished
    best = settings.runs_dir / "run" / "best.keras"
    same_classes = train_run(replace(settings, model=str(best), name="on", epochs=1))
    assert same_classes["model"]["began_with"] == "all weights of run"
    two = train_run(
        replace(settings, weights=str(best), name="two", epochs=1, classes=("red", "green"), freeze_backbone=True)
    )
    assert two["model"]["began_with"] == "weights of run, the last layer anew"
    assert two["model"]["classes"] == ["green", "red"]
    before, after = load_model(best).network, load_model(settings.runs_dir / "two" / "best.keras").network
    assert same(before.get_layer("stem").get_weights(), after.get_layer("stem").get_weights())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dataset": "demo", "data_dir": None, "train_split": "val"}, "train and val are the same files"),
        ({"classes": ("red",)}, "there is one class, 'red'"),
        ({"val_split": "dev"}, "unknown split 'dev'"),
        ({"test_split": "exam"}, "unknown split 'exam'"),
        ({"model": "x3d"}, "unknown model 'x3d'; did you mean 'x3d_"),
        ({"short_side": (10, 20)}, "leaves frames smaller"),
        ({"model": "x3d_s"}, r"the crop \(182, 182\) is larger than the resized frame \(24, 32\)"),
        ({"model": "r3d_18", "dropout": 1.5}, "dropout must lie between 0 and 1, got 1.5"),
        ({"weights": "kinetics400"}, "there is no weight file|it takes a .keras file"),
        ({"accumulate": 8}, "--accumulate 8: the run has 3 steps, and would never change a weight"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, more, message):
    with pytest.raises(UserError, match=message):
        train_run(replace(settings, epochs=1, **more))


def test_fine_tune_in_a_few_lines(data, tmp_path):
    train, val = (load_dataset("folder", split, data).videos for split in ("train", "val"))
    told = {"num_frames": 4, "batch_size": 4, "workers": 1, "learning_rate": 0.01, "progress": False}
    history = fine_tune("tiny2plus1d", train, val, 2, augmentation=Augmentation(flip=0), **told)
    before = history.model.network.get_weights()
    fine_tune(history.model, train, val, 1, freeze_backbone=True, **told)
    assert same(before, history.model.network.get_weights())  # a model that is handed in stays as it is
    with pytest.raises(UserError, match="no val video has one of the classes blue, green, red"):
        fine_tune("tiny2plus1d", train, [], 1)
    assert list(history.epochs["epoch"]) == [1, 2] and history.best["val_top1"] == history.epochs["val_top1"].max()
    assert history.model.spec.classes == ("blue", "green", "red")
    save_model(history.model.network, tmp_path / "mine.keras", history.model.spec)
    more = fine_tune(tmp_path / "mine.keras", train, val, 1, freeze_backbone=True, **told)
    assert more.model.spec.provenance == {"began_with": "all weights of tiny2plus1d"}
    assert history.model.spec.name == "tiny2plus1d" and more.model.spec.name == "tiny2plus1d-fine-tuned"
    again = fine_tune(more.model, train, val, 1, freeze_backbone=True, **told)
    assert again.model.spec.name == "tiny2plus1d-fine-tuned"
    with pytest.raises(UserError, match="no training video has a label"):
        fine_tune("tiny2plus1d", [], val, 1)


@pytest.mark.skipif(on_jax(), reason="each process starts JAX itself")
def test_two_processes_learn_what_one_does(settings):
    """The same global batches, on JAX: the same losses, to float tolerance, and no clip counted twice."""
    settings = replace(settings, mixup=0.3, dropout=0.5, color_jitter=0.3)
    argfile = settings.runs_dir.parent / "train.txt"
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    port = 20_000 + os.getpid() % 20_000

    def run(name, *more):
        argfile.with_name(name).write_text(as_argfile(replace(settings, name=name)))
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), f"@{argfile.with_name(name)}", *more]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with run("one") as alone:
        told = alone.communicate()
    assert alone.returncode == 0, told
    several = [run("two", f"--coordinator=localhost:{port}", "--num-processes=2", f"--process-id={i}") for i in (0, 1)]
    told = [process.communicate() for process in several]
    assert [process.returncode for process in several] == [0, 0], told[0][1][-1500:] + told[1][1][-1500:]
    assert "val   6 of 6" in told[0][0] and "val" not in told[1][0]
    for one, two in zip(history(settings, "one"), history(settings, "two"), strict=True):
        for name in one:
            assert float(one[name]) == pytest.approx(float(two[name]), rel=2e-3), name


def test_plans_are_plain_values():
    plan = Plan(schedule="step", milestones=(1, 2))
    assert Plan(**plan.to_dict()) == plan


def test_a_probe_fits_the_last_layer_and_keeps_what_it_saw(finished):
    settings = replace(finished, name="probe", probe=True, weights=str(finished.runs_dir / "run" / "best.keras"))
    report = train_run(settings)
    folder = settings.runs_dir / "probe"
    assert {path.name for path in folder.iterdir()} >= {
        "best.keras", "features.npy", "val_features.npy", "probe.csv", "learning_curve.csv", "neighbours.csv",
        "suspects.csv", "report.json", "config.txt", "failures.csv", "val", "test",
    }  # fmt: skip
    assert np.load(folder / "features.npy").shape == (12, 1, 96)
    assert report["probe"]["val_top1"] == pytest.approx(report["val"]["metrics"]["top1"]["value"])
    probed, before = load_model(folder / "best.keras").network, load_model(settings.weights).network
    assert same(probed.get_layer("stem").get_weights(), before.get_layer("stem").get_weights())
    assert not same(probed.get_layer("logits").get_weights(), before.get_layer("logits").get_weights())
    assert "a linear head on 96 features of 12 videos" in train_table(report)
    again = train_run(replace(settings, overwrite=True))  # from the kept features
    assert again["probe"] == report["probe"]


def test_a_probe_says_what_it_could_not_read(settings, data, tmp_path):
    told = {"probe": True, "data_dir": broken(data, tmp_path / "some", "train/red/0.mkv", "train/blue/0.mkv")}
    table = train_table(train_run(replace(settings, **told)))
    assert "a linear head on 96 features of 10 videos" in table
    assert "note: 2 of 12 training videos cannot be read: failures.csv says why" in table
    with pytest.raises(UserError, match="1 of 3 classes have no training video with features: green"):
        told["data_dir"] = broken(data, tmp_path / "class", "train/green/*")
        train_run(replace(settings, name="class", **told))


def test_a_probe_says_which_flags_it_does_not_use(settings, caplog):
    plain = TrainSettings()
    bare = {name: getattr(plain, name) for name in ("epochs", "batch_size", "learning_rate", "train_resize_size")}
    train_run(replace(settings, probe=True, **bare))
    assert "does not use" not in caplog.text
    train_run(replace(settings, name="more", probe=True, **bare | {"epochs": 3, "mixup": 0.2, "freeze_backbone": True}))
    assert [line for line in caplog.messages if "does not use" in line] == [
        "a probe does not use --mixup, --epochs, --freeze-backbone"
    ]


def test_the_best_model_is_exported_to_hand_over(finished, tmp_path):
    settings = finished
    report = train_run(replace(settings, export_only=True, export=("onnx", "saved_model"), licence="mine"))
    folder = settings.runs_dir / "run" / "export"
    assert set(report["export"]) == {"onnx", "saved_model"}
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model.json", "classify.py", "example.mkv", "expected.json", "MODEL_CARD.md", "saved_model",
    }  # fmt: skip
    card = (folder / "MODEL_CARD.md").read_text()
    assert "mine" in card and "12" in card and "green" in card
    wanted = run_table(settings.runs_dir / "run" / "val" / "predictions.csv")
    for exported in (folder / "model.onnx", folder / "saved_model"):
        evaluate_run(
            EvaluateSettings(
                model=str(exported), dataset="folder", data_dir=settings.data_dir, results_dir=tmp_path,
                name=exported.name, cache=False, top_n=2,
            )
        )  # fmt: skip
        found = run_table(tmp_path / exported.name / "predictions.csv")
        assert found[["video_id", "pred_1"]].equals(wanted[["video_id", "pred_1"]])
        assert found["score_1"].astype(float).tolist() == pytest.approx(
            wanted["score_1"].astype(float).tolist(), abs=1e-4
        )
    again = train_run(replace(settings, export_only=True, export_input="float32", name=None, export=("onnx",)))
    assert json.loads((folder / "float32" / "model.json").read_text())["input"] == "float32" and again["export"]
    assert json.loads((folder / "model.json").read_text())["input"] == "uint8"


def test_what_cannot_be_exported_is_trained_all_the_same(settings, monkeypatch, caplog):
    from vidbench.train import export

    monkeypatch.setattr(export, "on_jax", lambda: True)
    report = train_run(replace(settings, epochs=1, export=("onnx",)))
    assert "not exported: export runs on TensorFlow" in caplog.text and report["status"] == "done"
