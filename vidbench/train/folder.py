"""`runs/<name>/`: what a training run leaves, and what it needs to go on."""

import contextlib
import csv
import json
import logging
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras

from vidbench.arguments import TrainSettings
from vidbench.commands import as_argfile
from vidbench.models import Spec, save_model
from vidbench.results import differences, hold
from vidbench.train.loop import Training
from vidbench.train.network import set_sync_bn
from vidbench.train.state import Progress, read_state, restore, write_state
from vidbench.utils import UserError, printable, written_whole

log = logging.getLogger(__name__)
STATE = "resume.npz"
MODELS = ("best.keras", "best.json", "last.keras", "last.json", STATE)
TABLES = ("history.csv", "failures.csv", "probe.csv", "learning_curve.csv", "neighbours.csv", "suspects.csv")
OTHERS = ("report.json", "curves.png", "mlflow.json", "features.npy", "val_features.npy")
FOLDERS = ("val", "test", "export", "tensorboard", "examples")
OURS = (*MODELS, *TABLES, *OTHERS, *FOLDERS)
LISTS = {"classes": "classes", "train_videos": "training videos", "val_videos": "val videos"}  # kept as digests
EPOCH = re.compile(r"epoch-\d{4}\.(keras|json)")


class TrainingFolder:
    """A run's folder, held by one process at a time; use as a context manager.

    identity: what makes two starts the same run, as plain values; `epochs` may grow. earlier: the report of an
    earlier start, {} for none.

    Raises UserError, with the folder as it was, when it holds another run (the differing settings are named) or
    something else, when another process writes to it, and when `resume` finds nothing to go on with.
    """

    def __init__(self, folder: Path, identity: dict, overwrite: bool = False, resume: bool = False):
        self.folder, self.identity = Path(folder), json.loads(json.dumps(identity))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = hold(self.folder)
        try:
            self._overwrite, found = overwrite, self._report()
            self.earlier = {} if overwrite else self._same_run(found)
            if resume and not self.has_state:
                raise UserError(f"--resume: {self.folder} holds no run to go on with")
        except BaseException:
            self._lock.release()
            raise
        self._saved = time.monotonic()

    def __enter__(self) -> "TrainingFolder":
        return self

    def __exit__(self, *problem) -> None:
        self._lock.release()

    def begin(self, settings: TrainSettings, record: dict) -> None:
        """Clear what must go, write what is known before the first step: the report, the argfile that repeats it."""
        self._clear(self._overwrite)
        self.write_report({"status": "running"} | record)
        with written_whole(self.folder / "config.txt") as file:
            file.write(f"# python scripts/train.py @{shlex.quote(str(self.folder / 'config.txt'))}\n")
            file.write(as_argfile(replace(settings, overwrite=False, overwrite_cache=False, resume=False)))

    def write_report(self, record: dict) -> None:
        """Write `report.json`."""
        with written_whole(self.folder / "report.json") as file:
            json.dump({"identity": self.identity, **record}, file, indent=1, ensure_ascii=False)
            file.write("\n")

    @property
    def has_state(self) -> bool:
        """Whether there is a save to go on from."""
        return (self.folder / STATE).is_file()  # `begin` has removed what is overwritten

    def read_progress(self) -> Progress | None:
        """Where the last whole save stood, None where there is none."""
        return read_state(self.folder / STATE)[0] if self.has_state else None

    def restore(self, training: Training) -> None:
        """Bring a training that begins at the saved progress to the saved values."""
        progress, stage, arrays = read_state(self.folder / STATE)
        restore(arrays, "network", training.network.variables)
        if stage == training.stage:  # else the backbone was freed just now, with a new optimiser
            restore(arrays, "optimizer", training.optimizer.variables)
        training.progress = progress

    def save_state(self, training: Training, every_minutes: float = 0.0) -> None:
        """Save all that is needed to go on, if the last save is so many minutes ago."""
        if time.monotonic() - self._saved < 60 * every_minutes:
            return
        training.check()
        write_state(self.folder / STATE, training.progress, training.network, training.optimizer, training.stage)
        self._saved = time.monotonic()

    def save_epoch(self, training: Training, spec: Spec, best: bool, keep_every: int | None = None) -> None:
        """Save after an epoch: the models, the tables, and last of all the state.

        A process that is killed in between goes on from the state before, and writes all of it again.
        """
        state = training.progress
        row = state.history[-1]
        spec = replace(spec, provenance=spec.provenance | {"epoch": row["epoch"]})
        names = [*(["best"] if best else []), "last"]
        if keep_every and row["epoch"] % keep_every == 0:
            names.append(f"epoch-{row['epoch']:04d}")
        for name in names:
            save_network(training.network, self.folder / f"{name}.keras", spec)
        self.write_tables(state)
        self.save_state(training)

    def write_tables(self, state: Progress) -> None:
        """Write `history.csv` and `failures.csv`."""
        with written_whole(self.folder / "history.csv") as file:
            table = csv.DictWriter(file, list(state.history[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(state.history)
        write_failures(self.folder, state.failures)

    def _report(self) -> dict:
        """The report that lies here, {} in an empty folder; UserError for anything else than a run of train.py."""
        others = [path.name for path in self.folder.iterdir() if path.name != ".lock" and not _is_part(path)]
        if not others:
            return {}
        try:
            report = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
            if "probe" not in report["identity"]:
                raise ValueError("it is another command's")
        except FileNotFoundError:
            raise UserError(
                f"{self.folder} holds no run of train.py but {others[0]!r}: choose another --name"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise UserError(f"{self.folder}/report.json is no run's ({problem}): choose another --name") from None
        return report

    def _same_run(self, report: dict) -> dict:
        """The report of an earlier start of this run, {} for none; UserError for another run's."""
        before, now = dict(report.get("identity", self.identity)), dict(self.identity)
        epochs = [identity.get("plan", {}).get("epochs", 0) for identity in (before, now)]
        if longer := epochs[1] > epochs[0]:
            now["plan"] = now["plan"] | {"epochs": epochs[0]}
        if differing := list(_unlike(before, now)):
            ways_out = "choose another --name, or --overwrite"
            raise UserError(f"{self.folder} holds another run: {'; '.join(differing)}. To go on, {ways_out}")
        if longer and now["plan"]["schedule"] == "cosine":
            log.warning("more epochs under a cosine schedule: from here on its rates are those of the longer run")
        return report

    def _clear(self, overwrite: bool) -> None:
        """Remove what a killed start left half written and, to overwrite, what a run writes; others' files stay."""
        for path in self.folder.iterdir():
            ours = overwrite and (path.name in OURS or EPOCH.fullmatch(path.name))
            if not (_is_part(path) or ours):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _unlike(before: dict, now: dict) -> Iterator[str]:
    """What differs between the identities of two runs, in words; of long lists that they differ."""
    if before["probe"] != now["probe"]:
        held, this = ("a probe" if identity["probe"] else "a training" for identity in (before, now))
        yield f"it holds {held}, this is {this}"
        return
    yield from (f"other {words}" for name, words in LISTS.items() if before.get(name) != now.get(name))
    yield from differences(*({key: identity[key] for key in identity.keys() - LISTS} for identity in (before, now)))


def write_failures(folder: Path, failures: dict[str, list[str]]) -> None:
    """Write `failures.csv`: {video id: [stage, reason]}."""
    with written_whole(folder / "failures.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["video_id", "stage", "reason"])
        table.writerows([name, stage, printable(reason)] for name, (stage, reason) in failures.items())


class FollowedFolder(TrainingFolder):
    """The same folder as the other processes of a run see it: they read its state and write nothing."""

    def __init__(self, folder: Path, overwrite: bool = False):
        self.folder, self.earlier, self._overwrite = Path(folder), {}, overwrite
        with contextlib.suppress(OSError, ValueError):  # to know, as the first process does, whether it is finished
            self.earlier = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))

    @property
    def has_state(self) -> bool:
        """Whether there is a save to go on from, and not one that is about to be overwritten."""
        return not self._overwrite and super().has_state

    def __exit__(self, *problem) -> None:
        pass

    def begin(self, settings: TrainSettings, record: dict) -> None:
        """Nothing."""

    def save_state(self, training: Training, every_minutes: float = 0.0) -> None:
        """Nothing."""

    def save_epoch(self, training: Training, spec: Spec, best: bool, keep_every: int | None = None) -> None:
        """Nothing."""


def save_network(network: keras.Model, path: Path, spec: Spec) -> None:
    """Write a network in training as a `.keras` file with its spec, fit for any machine and backend."""
    synchronized = [layer for layer in network.layers if getattr(layer, "synchronized", False)]
    set_sync_bn(synchronized, False)  # JAX knows no such thing
    try:
        save_model(network, path, spec)
    finally:
        set_sync_bn(synchronized, True)


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and (path.name.endswith(".part") or path.name.startswith(".saving-"))
