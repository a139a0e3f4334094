"""Draw the demo's clips: python -m vidbench.data.demo DIR [--splits train,val] [--val-clips N] [--seed N] …

`scripts/train.py --dataset demo --data-dir DIR` takes it. Without a folder of one's own, train.py draws what it needs.
"""

import argparse
from pathlib import Path

from vidbench.commands import command_errors
from vidbench.data.demo import demo_specs, draw_dataset
from vidbench.machine import usable_cpus
from vidbench.utils import UserError


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m vidbench.data.demo", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--splits", default="train,val", help="separated by commas (default: train,val)")
    parser.add_argument("--clips", type=int, help="of train (default: 2,400)")
    parser.add_argument("--val-clips", type=int, help="of val (default: 160)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws clips that no shipped model has seen")
    parser.add_argument("--tied", type=float, default=0.0, help="share of train clips whose scene goes with the class")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes that draw")
    wanted = parser.parse_args(arguments)
    with command_errors("demo"):
        counts = {"train": wanted.clips, "val": wanted.val_clips}
        if not 0 <= wanted.tied <= 1 or any(count is not None and count < 1 for count in counts.values()):
            raise UserError("--tied must lie between 0 and 1, --clips and --val-clips must be positive")
        if wanted.seed < 0:
            raise UserError("--seed must not be negative")
        for split in wanted.splits.split(","):
            tied = wanted.tied if split == "train" else 0.0
            specs = demo_specs(split, counts.get(split), wanted.seed, tied=tied)
            draw_dataset(wanted.folder, specs, split, wanted.workers, progress=True)


if __name__ == "__main__":
    main()
