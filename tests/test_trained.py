"""--val-only, --test-only, --export-only: they take the model that is named, and spoil nothing that is there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import COLORS, solid
from test_train import data, finished, trained  # noqa: F401  fixtures

from vidbench.arguments import TrainSettings
from vidbench.models import load_model, save_model
from vidbench.runtimes import on_jax
from vidbench.train import export, train_run
from vidbench.train import trained as trained_models
from vidbench.train.scoring import evaluation
from vidbench.utils import UserError

exporting = pytest.mark.skipif(on_jax(), reason="exporting runs on TensorFlow")


def another_model(path, like):
    """A model as `like`, but for its weights, which give every video the last class."""
    model = load_model(like)
    kernel, bias = model.network.get_layer("logits").get_weights()
    model.network.get_layer("logits").set_weights([0 * kernel, np.arange(len(bias), dtype=np.float32)])
    save_model(model.network, path, replace(model.spec, name=path.stem))
    return path


def top1(report):
    return report["val"]["metrics"]["top1"]["value"]


def test_the_model_that_is_named_is_scored_and_overwrites_nothing(finished, tmp_path, caplog):  # noqa: F811
    settings, runs = replace(finished, val_only=True, name=None), finished.runs_dir
    before = (runs / "run" / "val" / "report.json").read_bytes()
    best, third = runs / "run" / "best.keras", pytest.approx(1 / 3)
    for model, place in (("run/epoch-0001.keras", "run/epoch-0001-val"), ("../other.keras", "other-data-val")):
        report = train_run(replace(settings, model=str(another_model(runs / model, best))))
        assert (report["folder"], top1(report)) == (str(runs / place), third)
    with_weights = train_run(replace(settings, weights=str(tmp_path / "other.keras")))
    assert (with_weights["folder"], top1(with_weights)) == (str(runs / "tiny2plus1d-data-val"), third)
    with pytest.raises(UserError, match="the model knows none of the data's classes"):  # demo's own classes
        train_run(replace(settings, model="demo"))
    for model, message in (
        ("r3d_18", "there is no trained model"),
        ("r3d", "unknown model"),
        ("x/y.keras", "no model"),
    ):
        with pytest.raises(UserError, match=message):
            train_run(replace(settings, model=model))
    began = replace(settings, name="second", weights="a file that is gone")
    shutil.copytree(runs / "run", runs / "second")
    told = {"settings": {"model": began.model, "weights": began.weights}}
    (runs / "second" / "report.json").write_text(json.dumps(told))
    second = trained_models.trained_model(began)  # as that run's config.txt says it
    assert (second.model, second.weights) == (str(runs / "second" / "best.keras"), None)
    assert trained_models.trained_model(replace(began, weights="other")).weights == "other"
    assert (runs / "run" / "val" / "report.json").read_bytes() == before and "taking the best run" not in caplog.text
    assert train_run(settings)["folder"] == str(runs / "run" / "val")
    assert "taking the best run" in caplog.text


def test_other_data_and_other_protocols_go_beside_the_run_s_own_scores(finished, tmp_path, caplog):  # noqa: F811
    settings, run = replace(finished, val_only=True), finished.runs_dir / "run"
    before = (run / "val" / "report.json").read_bytes()
    shutil.copytree(finished.data_dir, tmp_path / "elsewhere")
    (tmp_path / "map.csv").write_text("from,to\nred,red\n")
    for more, told in (
        (
            {"data_dir": tmp_path / "elsewhere"},
            f'data_dir is "{finished.data_dir}" there and "{tmp_path / "elsewhere"}" here',
        ),
        ({"label_map": tmp_path / "map.csv"}, "label_map is null there and"),
        ({"classes": ("red", "green")}, 'classes is [] there and ["red", "green"] here'),
        ({"val_split": "test"}, 'val_split is "val" there and "test" here'),
        ({"views": (2, 1)}, "protocol clips is 1 there and 2 here"),
        ({"clip_len": 3, "short_videos": "fail"}, "num_frames is 4 there and 3 here; protocol short_videos is"),
        ({"frame_rate": 5.0}, "protocol frame_rate is null there and 5.0 here"),
    ):
        caplog.clear()
        assert train_run(replace(settings, **more))["folder"] == str(run / "other-val")
        (line,) = [line for line in caplog.messages if "not as in the run" in line]
        assert told in line and f"scores go to {run / 'other-val'}" in line
    last = replace(settings, model=str(run / "last.keras"), views=(2, 1))
    assert train_run(last)["folder"] == str(run / "last-other-val")
    assert train_run(replace(settings, val_only=False, test_only=True, views=(2, 1)))["folder"] == str(
        run / "other-test"
    )
    assert (run / "val" / "report.json").read_bytes() == before


def test_the_run_s_own_data_under_its_own_protocol_are_not_other(finished, monkeypatch, caplog):  # noqa: F811
    monkeypatch.chdir(finished.data_dir.parent)
    own = replace(finished, val_only=True, data_dir=Path(finished.data_dir.name))  # the same folder
    for more in ({"clip_len": None}, {"test_split": "test", "epochs": 7}, {"val_only": False, "test_only": True}):
        settings = replace(own, **more)
        split = "val" if settings.val_only else "test"
        assert train_run(settings)["folder"] == str(finished.runs_dir / "run" / split)
    assert "not as in the run" not in caplog.text


def test_a_name_wins_over_the_folder_of_the_model(finished):  # noqa: F811
    best = str(finished.runs_dir / "run" / "best.keras")
    before = (finished.runs_dir / "run" / "val" / "report.json").read_bytes()
    report = train_run(replace(finished, val_only=True, model=best, name="elsewhere"))
    assert report["folder"] == str(finished.runs_dir / "elsewhere-val")
    assert (finished.runs_dir / "run" / "val" / "report.json").read_bytes() == before
    for name in (None, "run"):
        found = trained_models.trained_model(replace(finished, val_only=True, model=best, name=name))
        assert (found.folder, found.prefix) == (finished.runs_dir / "run", "")


def test_flags_of_the_protocol_hold_where_only_scoring_is_done(tmp_path):
    flags = {"views": (2, 3), "frame_rate": 5.0}
    settings = TrainSettings(val_only=True, clip_len=3, short_videos="fail", precision="bfloat16", **flags)
    told = evaluation(settings, tmp_path, "m.keras", "val", "val")
    assert {name: getattr(told, name) for name in flags} == flags
    assert (told.num_frames, told.short_videos) == (3, "fail")
    own = evaluation(replace(settings, val_only=False), tmp_path, "m.keras", "val", "val")
    assert (own.views, own.frame_rate, own.num_frames, own.short_videos) == (None, None, None, None)
    assert own.precision == told.precision == "float32"  # what training reports
    assert evaluation(TrainSettings(test_only=True), tmp_path, "m.keras", "test", "test").short_videos is None


@pytest.mark.parametrize("mode", ["val_only", "test_only", "export_only"])
def test_a_fast_dev_run_trains(mode):
    with pytest.raises(UserError, match="--fast-dev-run trains: it does not go with"):
        TrainSettings(fast_dev_run=True, **{mode: True})


def test_exporting_nothing_is_an_error():
    with pytest.raises(UserError, match="--export-only and --export none contradict each other"):
        TrainSettings(export_only=True, export=("none",))


def test_exporting_can_leave_the_gpu_alone(tmp_path, monkeypatch):
    hidden = []
    monkeypatch.setattr(trained_models, "hide_gpus", lambda: hidden.append(True))
    for cuda in (True, False):
        with pytest.raises(UserError, match="there is no trained model"):
            train_run(TrainSettings(runs_dir=tmp_path, export_only=True, cuda=cuda))
    assert hidden == [True]


@exporting
def test_exports_stand_beside_each_other(finished):  # noqa: F811
    settings, run = replace(finished, export_only=True, export=("onnx",)), finished.runs_dir / "run"
    for name in ("export/saved_model", "export/openvino", "export/.exporting-abcdefgh", ".export-abcdefgh/new"):
        (run / name).mkdir(parents=True)
        (run / name / "file").write_text(name)  # of earlier exports, and of killed ones
    train_run(settings)
    ours = {"model.onnx", "model.json", "classify.py", "example.mkv", "expected.json", "MODEL_CARD.md"}
    assert {path.name for path in (run / "export").iterdir()} == ours | {"saved_model", "openvino"}
    assert (run / "export" / "saved_model" / "file").read_text() == "export/saved_model"
    assert not list(run.glob(".export-*"))
    card = (run / "export" / "MODEL_CARD.md").read_text()
    assert "| top-1 accuracy |" in card and "| green |" in card and "Trained on: folder" in card

    kept = {name: (run / "export" / name).read_bytes() for name in ours}
    found = train_run(replace(settings, export_input="float32"))["export"]
    assert found == {"onnx": str(run / "export" / "float32" / "model.onnx")}
    assert json.loads((run / "export" / "float32" / "model.json").read_text())["input"] == "float32"

    other = another_model(run / "epoch-0001.keras", run / "best.keras")
    train_run(replace(settings, model=str(other)))
    card = (run / "epoch-0001-export" / "MODEL_CARD.md").read_text()
    assert "Accuracy and its 95 % interval: not stated." in card and "Trained on: not stated." in card
    assert {name: (run / "export" / name).read_bytes() for name in ours} == kept


def test_a_card_tells_of_classes_only_what_its_metrics_are_of(finished):  # noqa: F811
    run = finished.runs_dir / "run"
    report, model = json.loads((run / "report.json").read_text()), load_model(run / "best.keras")
    assert set(export.facts_of(finished, model, run, report)["per_class"]) == set(COLORS)
    scored = json.loads((run / "test" / "report.json").read_text())
    scored["metrics"]["top1"]["value"] = 0.123  # with other --views, say
    (run / "test" / "report.json").write_text(json.dumps(scored))
    facts = export.facts_of(finished, model, run, report)
    assert facts["metrics"] == report["test"]["metrics"] and "per_class" not in facts


@exporting
def test_parts_of_files_are_exported_without_a_hand_over(finished, tmp_path, caplog):  # noqa: F811
    table = tmp_path / "parts.csv"
    lines = [f"{finished.data_dir}/val/{name}/0.mkv,{name},0.1,0.7,val" for name in COLORS]
    table.write_text("\n".join(["path,label,start,end,split", *lines]) + "\n")
    settings = replace(finished, dataset="csv", data_dir=None, csv=table, export_only=True, export=("onnx",))
    train_run(settings)
    folder = finished.runs_dir / "run" / "export"
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.json"}
    assert "there is no example for a hand-over" in caplog.text
    assert load_model(folder / "model.onnx").spec == load_model(folder.parent / "best.keras").spec
    (folder / "classify.py").touch()
    with pytest.raises(UserError, match="holds a hand-over, and no video file is here for another"):
        train_run(settings)


def test_folders_of_frames_check_an_export(finished, tmp_path):  # noqa: F811
    for name, color in COLORS.items():
        (tmp_path / "frames" / name).mkdir(parents=True)
        for number, frame in enumerate(solid(color)):
            cv2.imwrite(str(tmp_path / "frames" / name / f"{number:03d}.png"), frame)
    rows = [f"{name},{name},{name}" for name in COLORS]
    (tmp_path / "gt.csv").write_text("\n".join(["youtube_id,folder_name,label", *rows]) + "\n")
    settings = replace(finished, dataset="frames", data_dir=tmp_path / "frames", gt_csv=tmp_path / "gt.csv")
    settings = replace(settings, frames_fps=5.0)
    samples = export._samples(settings, load_model(finished.runs_dir / "run" / "best.keras"))
    assert len(samples) == export.CHECKED_VIDEOS and {sample.info.fps for sample in samples} == {5.0}
    for name in COLORS:
        shutil.rmtree(tmp_path / "frames" / name)
    with pytest.raises(UserError, match="split val has no video that can be read"):
        export._samples(settings, load_model(finished.runs_dir / "run" / "best.keras"))
