"""Draw the demo's clips into a folder: python -m vidbench.data.demo DIR [--splits train,val] [--clips N] [--tied X]

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
    parser.add_argument("--tied", type=float, default=0.0, help="share of train clips whose scene goes with the class")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes that draw")
    wanted = parser.parse_args(arguments)
    with command_errors("demo"):
        if not 0 <= wanted.tied <= 1 or (wanted.clips is not None and wanted.clips < 1):
            raise UserError("--tied must lie between 0 and 1, --clips must be positive")
        for split in wanted.splits.split(","):
            train = split == "train"
            specs = demo_specs(split, wanted.clips if train else None, tied=wanted.tied if train else 0.0)
            draw_dataset(wanted.folder, specs, split, wanted.workers, progress=True)


if __name__ == "__main__":
    main()
