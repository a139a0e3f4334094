"""`python -m vidbench.report merge DIR… --out DIR` joins the shards of one evaluation."""

import argparse
from pathlib import Path

from vidbench.commands import command_errors
from vidbench.report import merge, table


def main(arguments: list[str] | None = None) -> None:
    """The command `python -m vidbench.report`."""
    parser = argparse.ArgumentParser(prog="python -m vidbench.report", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    joining = commands.add_parser("merge", help="join the shards of one evaluation")
    joining.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    joining.add_argument("--out", type=Path, metavar="DIR", help="default: merged, beside the first shard")
    wanted = parser.parse_args(arguments)
    with command_errors("merge"):
        report = merge(wanted.folders, wanted.out or wanted.folders[0].parent / "merged")
        print(table(report))
        print(f"  written to {report['folder']}")


if __name__ == "__main__":
    main()
