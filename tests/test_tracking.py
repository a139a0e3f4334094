"""TensorBoard and MLflow get the run's numbers."""

import pytest

from vidbench.arguments import TrainSettings
from vidbench.train.tracking import MLflow, TensorBoard, final_numbers, trackers_of

ROWS = [
    {
        "epoch": epoch,
        "learning_rate": 0.1,
        "train_loss": 1.0,
        "train_top1": 0.5,
        "val_loss": 2.0,
        "val_top1": 0.25 * epoch,
    }
    for epoch in (1, 2)
]
REPORT = {"epochs": 2, "val": {"metrics": {"top1": {"value": 0.5}}}, "test": {"metrics": {"top1": {"value": 0.25}}}}
RECORD = {"settings": {"model": "tiny2plus1d", "seed": 3}, "plan": {"epochs": 2}}


def test_final_numbers():
    assert final_numbers(REPORT) == {"val_top1": 0.5, "test_top1": 0.25} and final_numbers({}) == {}


def test_tensorboard_gets_every_number(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path)
    for row in ROWS:
        board.epoch(row)
    board.finish(REPORT, [])
    read = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert set(read.Tags()["tensors"]) >= {"train_loss", "val_top1", "learning_rate", "best/val_top1"}
    from tensorboard.util.tensor_util import make_ndarray

    values = [(event.step, float(make_ndarray(event.tensor_proto))) for event in read.Tensors("val_top1")]
    assert values == [(1, 0.25), (2, 0.5)]


def test_mlflow_gets_settings_numbers_and_files_and_goes_on(tmp_path):
    import mlflow

    settings = TrainSettings(
        runs_dir=tmp_path / "runs", mlflow="local", experiment="mine", run_name="first try", description="a trial"
    )
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    best = folder / "best.keras"
    best.write_bytes(b"weights")
    (tracker,) = trackers_of(settings, folder, RECORD)
    tracker.epoch(ROWS[0])
    again = MLflow(settings, folder, RECORD)  # a stopped run goes on
    again.epoch(ROWS[1])
    again.finish(REPORT, [best])
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.run_name == "first try" and run.info.status == "FINISHED"
    assert run.data.params == {"model": "tiny2plus1d", "seed": "3", "epochs": "2"}
    assert run.data.metrics["val_top1"] == 0.5 and run.data.metrics["best_test_top1"] == 0.25
    assert run.data.tags["mlflow.note.content"] == "a trial"
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "val_top1")] == [0.25, 0.5]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["best.keras"]


def test_nothing_is_tracked_unless_asked(tmp_path):
    assert trackers_of(TrainSettings(), tmp_path, RECORD) == []


def test_an_address_that_is_no_store_is_one_clear_line(tmp_path):
    from vidbench.utils import UserError

    with pytest.raises(UserError, match="MLflow at nonsense://x: "):
        trackers_of(TrainSettings(mlflow="nonsense://x"), tmp_path, RECORD)
