"""Everything that a run needs to go on as if it had not stopped, in one file that is there whole or not at all."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np

from vidbench.data.load import Failure
from vidbench.utils import UserError, written_whole

SCHEMA = 1


@dataclass
class Progress:
    """Where a run stands, beside its variables.

    epoch: finished epochs; step: steps of the one that goes on; loss_sum, hits, clips: what those steps added up
    history: one row a finished epoch; best: the row of the best one; stale: epochs since then
    failures: unreadable training videos by id; replaced: clips that others stood in for
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    hits: float = 0.0
    clips: int = 0
    seconds: float = 0.0
    stale: int = 0
    replaced: int = 0
    best: dict | None = None
    history: list[dict] = field(default_factory=list)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def note_failures(self, failures: dict[str, Failure], replaced: int) -> None:
        """Take over what the loader found."""
        self.failures = {name: [failure.stage, failure.reason] for name, failure in failures.items()}
        self.replaced = replaced


def write_state(path: Path, progress: Progress, network: keras.Model, optimizer: keras.Optimizer, stage: str) -> None:
    """Write the variables of network (batch norms' averages and dropout's generators too) and optimiser, and the rest.

    stage: which of the run's optimisers it is; a frozen backbone and a free one have one each.
    """
    arrays = {f"network/{number}": value for number, value in enumerate(_values(network.variables))}
    arrays |= {f"optimizer/{number}": value for number, value in enumerate(_values(optimizer.variables))}
    told = {"schema": SCHEMA, "stage": stage, "progress": asdict(progress)}
    with written_whole(path, "wb") as file:
        np.savez(file, told=np.array(json.dumps(told)), **arrays)


def read_state(path: Path) -> tuple[Progress, str, dict[str, np.ndarray]]:
    """(progress, stage, arrays) of a state file; `restore` puts the arrays in place.

    Raises UserError for a file that is no state of this version.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(str(arrays.pop("told")))
        if told["schema"] != SCHEMA:
            raise UserError(f"{path} has schema {told['schema']}, this version of vidbench reads {SCHEMA}")
        return Progress(**told["progress"]), told["stage"], arrays
    except UserError:
        raise
    except Exception as problem:  # whatever zip, NumPy and JSON meet in a damaged file
        raise UserError(f"{path} is no state of a run ({problem}); --overwrite starts anew") from None


def restore(arrays: dict[str, np.ndarray], kind: str, variables: list) -> None:
    """Give `variables`, of the "network" or the "optimizer", the values of a state file.

    Raises UserError where they do not fit, before any has changed.
    """
    values = [arrays.get(f"{kind}/{number}") for number in range(len(variables))]
    if len(values) != sum(name.startswith(f"{kind}/") for name in arrays) or any(
        value is None or value.shape != tuple(variable.shape) for value, variable in zip(values, variables, strict=True)
    ):
        raise UserError(f"the state of the {kind} that was saved does not fit this one; --overwrite starts anew")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _values(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
