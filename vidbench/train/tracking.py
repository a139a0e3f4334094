"""Records beside the run's folder: TensorBoard and MLflow, both optional."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vidbench.arguments import TrainSettings
from vidbench.utils import UserError, extra_module, written_whole

log = logging.getLogger(__name__)
NUMBERS = ("learning_rate", "train_loss", "train_top1", "val_loss", "val_top1")


class Tracker(Protocol):
    """What is told of a run as it goes."""

    def epoch(self, row: dict) -> None:
        """A row of history.csv."""

    def finish(self, report: dict, files: Sequence[Path]) -> None:
        """The report, and files that belong to it: the best model, figures, example clips with their predictions."""


def check_trackers(settings: TrainSettings) -> None:
    """Raise UserError where a tracker that the settings ask for is not installed."""
    if settings.mlflow:
        extra_module("mlflow", "mlflow")


def trackers_of(settings: TrainSettings, folder: Path, record: dict) -> list[Tracker]:
    """The trackers that the settings ask for. Raises UserError where a library is missing or a server does not answer.

    record: what is known of the run before its first step.
    """
    trackers: list[Tracker] = []
    if settings.tensorboard:
        trackers.append(TensorBoard(folder / "tensorboard"))
    if settings.mlflow:
        trackers.append(MLflow(settings, folder, record))
    return trackers


class TensorBoard:
    """Scalars an epoch, as `tensorboard --logdir runs` shows them."""

    def __init__(self, folder: Path):
        import tensorflow as tf

        self._summary, self._writer = tf.summary, tf.summary.create_file_writer(str(folder))

    def epoch(self, row: dict) -> None:
        """A row of history.csv."""
        with self._writer.as_default(step=row["epoch"]):
            for name in NUMBERS:
                self._summary.scalar(name, row[name])
        self._writer.flush()

    def finish(self, report: dict, files: Sequence[Path]) -> None:
        """The accuracies of the best model."""
        with self._writer.as_default(step=report.get("epochs", 0)):
            for name, value in final_numbers(report).items():
                self._summary.scalar(f"best/{name}", value)
        self._writer.close()


class MLflow:
    """One MLflow run: settings, numbers an epoch, and at the end the report, the best model and pictures.

    A stopped run goes on under the same id, which lies in the run's folder.
    """

    def __init__(self, settings: TrainSettings, folder: Path, record: dict):
        mlflow = extra_module("mlflow", "mlflow")
        local = f"sqlite:///{(settings.runs_dir / 'mlflow.db').resolve()}"
        uri = local if settings.mlflow == "local" else settings.mlflow
        try:
            self._client = mlflow.MlflowClient(uri)
            self._id = self._run_of(folder / "mlflow.json", settings, folder.name, record)
        except mlflow.exceptions.MlflowException as problem:
            raise UserError(f"MLflow at {uri}: {str(problem).splitlines()[0]}") from None

    def _run_of(self, file: Path, settings: TrainSettings, name: str, record: dict) -> str:
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))["run_id"]
        found = self._client.get_experiment_by_name(settings.experiment)
        place = (settings.runs_dir / "mlartifacts").resolve().as_uri() if settings.mlflow == "local" else None
        experiment = found.experiment_id if found else self._client.create_experiment(settings.experiment, place)
        tags = {"mlflow.note.content": settings.description} if settings.description else {}
        run = self._client.create_run(experiment, tags=tags, run_name=settings.run_name or name)
        for key, value in {**record["settings"], **record["plan"]}.items():
            self._client.log_param(run.info.run_id, key, str(value)[:500])
        with written_whole(file) as out:
            json.dump({"run_id": run.info.run_id}, out)
        return run.info.run_id

    def epoch(self, row: dict) -> None:
        """A row of history.csv."""
        for name in NUMBERS:
            self._client.log_metric(self._id, name, row[name], step=row["epoch"])

    def finish(self, report: dict, files: Sequence[Path]) -> None:
        """The accuracies of the best model, and the files."""
        for name, value in final_numbers(report).items():
            self._client.log_metric(self._id, f"best_{name}", value)
        for path in filter(Path.is_file, files):
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id)


def final_numbers(report: dict) -> dict[str, float]:
    """{"val_top1": 0.9, "test_mean_class_accuracy": …} of the splits that were scored at the end."""
    return {
        f"{split}_{name}": number["value"]
        for split in ("val", "test")
        for name, number in report.get(split, {}).get("metrics", {}).items()
    }
