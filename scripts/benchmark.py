"""How fast is it, and what does it cost in accuracy? python scripts/benchmark.py PART …

    cache CLIP…       what the NumPy cache gains, its hit rates under a limit, and what compression would cost
    frontier …        every runtime and precision on the same clips: seconds, memory, accuracy; evaluate.py's words
    gpu [CLIP…]       a GPU under JAX: clips a second, and the share of its own matrix products
    memory            what a run over 2,000 videos holds
    models [NAME…]    one view through every architecture, at its own size
    pipeline CLIP…    decoding, one model in every precision, both together, and the original prototype's way
    training [NAME…]  a step of training beside a look, and what 5,000 clips take

Prints medians over the rounds, as Markdown.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

from vidbench.commands import command_errors

PARTS = {
    "cache": "what the NumPy cache gains, and what compression would cost",
    "frontier": "every runtime and precision on the same clips; further words are those of evaluate.py",
    "gpu": "a GPU under JAX, beside its own matrix products",
    "memory": "what a run over many videos holds",
    "models": "one view through every architecture",
    "pipeline": "decoding, one model, and both together",
    "training": "a step of training beside a look at the same clips",
}
TAKE_SETTINGS = ("frontier",)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.argv[1:2] == ["gpu"]:
        os.environ.setdefault("KERAS_BACKEND", "jax")  # before Keras is imported
    with command_errors("benchmark") as ending, tempfile.TemporaryDirectory() as folder:
        tables = {name: importlib.import_module(f"vidbench.benchmark.{name}") for name in PARTS}
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--debug", action="store_true", help="show the traceback behind an error line")
        parts = parser.add_subparsers(dest="part", required=True)
        for name, table in tables.items():
            part = parts.add_parser(name, help=PARTS[name])
            table.add_arguments(part)
            part.add_argument("--rounds", type=int, default=5)
        wanted, wanted.rest = parser.parse_known_args()
        if wanted.rest and wanted.part not in TAKE_SETTINGS:
            parser.error(f"unrecognized arguments: {' '.join(wanted.rest)}")
        if wanted.rounds < 1:
            parser.error("--rounds must be at least 1")
        ending.debug = wanted.debug
        for line in tables[wanted.part].table(wanted, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
