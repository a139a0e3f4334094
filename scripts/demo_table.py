"""The README's table of the demo: what is left when time is taken away.

python scripts/demo_table.py [--tied MODEL]

MODEL learnt from train clips whose scenes go with their classes:
    python -m vidbench.data.demo data/cache/tied --tied 0.95
    python scripts/train.py @scripts/train_demo.txt --data-dir data/cache/tied --name tied    # runs/tied/best.keras
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from vidbench.commands import command_errors
from vidbench.data.datasets import load_dataset
from vidbench.data.demo import ACTIONS, BACKGROUNDS, KINDS, PARTNER, ClipSpec, read_attributes
from vidbench.data.load import Sample, VideoLoader
from vidbench.metrics import wilson_interval
from vidbench.models import load_model
from vidbench.predict import Prediction, evaluate, row_hits, score

TIED = "trained with scenes tied to classes"
LOOKS = {
    "normal": {},
    "frames shuffled": {"frame_order": "shuffled"},
    "reversed": {"frame_order": "reversed"},
    "one frame frozen": {"frame_order": "frozen"},
    "8 different frames": {"distinct_frames": 8},
    "4 different frames": {"distinct_frames": 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tied", type=Path, help="a model that was trained with scenes tied to classes")
    wanted = parser.parse_args()
    with command_errors("demo_table"):
        models = {"demo": load_model("demo"), "demo-frames": load_model("demo-frames")}
        found = load_dataset("demo", "val")
        specs = read_attributes(found.videos[0].path.parents[1] / "attributes.csv")
        samples = [item for item in VideoLoader(found.videos, models["demo"].spec.protocol) if isinstance(item, Sample)]
        tables = {name: evaluate(models["demo"], samples, **look) for name, look in LOOKS.items()}
        for name in ("normal", "frames shuffled", "reversed"):
            tables[f"time-blind twin, {name}"] = evaluate(models["demo-frames"], samples, **LOOKS[name])
        if wanted.tied:
            tables[TIED] = evaluate(load_model(str(wanted.tied)), samples)
        print(markdown(tables))
        blind = list(score(models["demo-frames"], samples))
        print(remarks(tables, specs, blind, models["demo-frames"].spec.classes))
        if wanted.tied:
            print(shortcut(tables[TIED], specs))


def markdown(tables: dict[str, pd.DataFrame]) -> str:
    """One row a look, in percent: all clips, then each kind of question."""
    lines = [f"| | all | {' | '.join(KINDS)} |", "|---|---|" + "---|" * len(KINDS)]
    for name, table in tables.items():
        hits = row_hits(table, 1)
        low, high = wilson_interval(int(hits.sum()), len(hits))
        cells = [f"{100 * hits.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"]
        cells += [f"{100 * hits[table['label'].isin(classes).to_numpy()].mean():.1f}" for classes in KINDS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def remarks(tables: dict[str, pd.DataFrame], specs: dict[str, ClipSpec], blind: list[Prediction], classes) -> str:
    """What the table does not hold: levels, swapped pairs, and the twin's choice between the two of each pair."""
    normal, backwards = tables["normal"], tables["reversed"]
    level = np.array([specs[key].level for key in normal["video_id"]])
    by_level = [f"{100 * row_hits(normal, 1)[level == name].mean():.0f}" for name in (0, 1, 2)]
    pairs = backwards[backwards["label"].isin(list(PARTNER))]
    swapped = int((pairs["pred_1"] == pairs["label"].map(PARTNER)).sum())
    lines = [f"- normal, levels 0 / 1 / 2: {' / '.join(by_level)}"]
    lines.append(f"- reversed order pairs: {swapped} of {len(pairs)} are taken for the partner")
    for first in ("picking up a box", "sitting down"):
        names = (first, PARTNER[first])
        places = [classes.index(name) for name in names]
        inside = [item for item in blind if item.video.label in names]
        right = sum(names[int(item.probabilities[places].argmax())] == item.video.label for item in inside)
        low, high = wilson_interval(right, len(inside))
        lines.append(
            f"- time-blind twin, {names[0]} or {names[1]}? {right} of {len(inside)} right "
            f"({100 * low:.0f} to {100 * high:.0f} %)"
        )
    return "\n".join(lines)


def shortcut(table: pd.DataFrame, specs: dict[str, ClipSpec]) -> str:
    """How a network that could learn the scenes does where the scene is, and is not, the one of the class."""
    usual = {action: BACKGROUNDS[index % len(BACKGROUNDS)] for index, action in enumerate(ACTIONS)}
    agrees = np.array([specs[key].background == usual[specs[key].action] for key in table["video_id"]])
    hits = row_hits(table, 1)
    return (
        f"- {TIED}: {100 * hits[agrees].mean():.0f} on the {agrees.sum()} clips whose scene is that of their class, "
        f"{100 * hits[~agrees].mean():.0f} on the others"
    )


if __name__ == "__main__":
    main()
