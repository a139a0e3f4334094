"""`python -m vidbench.report results/<run>` reports a run as it stands, finished or not.

Further: `merge DIR… --out DIR` joins the shards of one evaluation, `verify DIR…` computes every number of a run anew,
`ledger [RESULTS]` sets the runs beside what was published.
"""

import argparse
import sys
from pathlib import Path

from vidbench.commands import command_errors
from vidbench.report import merge, table, verify, write_ledger
from vidbench.utils import UserError

COMMANDS = ("show", "merge", "verify", "ledger")


def main(arguments: list[str] | None = None) -> None:
    """The command `python -m vidbench.report`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        words.insert(0, "show")
    wanted = _parser().parse_args(words)
    with command_errors(wanted.command) as ending:
        ending.debug = wanted.debug
        wanted.function(wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vidbench.report", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    showing = commands.add_parser("show", help="what a run has given so far (the word may be left out)")
    showing.add_argument("folder", type=Path, metavar="DIR")
    joining = commands.add_parser("merge", help="join the shards of one evaluation")
    joining.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    joining.add_argument("--out", type=Path, metavar="DIR", help="default: merged, beside the first shard")
    checking = commands.add_parser("verify", help="compute every number of a run anew, from its rows and scores")
    checking.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    listing = commands.add_parser("ledger", help="write README.md of a folder of runs: published and reproduced")
    listing.add_argument("results", nargs="?", type=Path, default=Path("results"), metavar="RESULTS")
    for command, function in ((showing, _show), (joining, _merge), (checking, _verify), (listing, _ledger)):
        command.set_defaults(function=function)
        command.add_argument("--debug", action="store_true", help="show the traceback behind an error line")
    return parser


def _show(wanted: argparse.Namespace) -> None:
    from vidbench.run import report_now  # it reads the videos of the mistakes again

    report, told = report_now(wanted.folder)
    print(table(report))
    print(f"  {told}")


def _merge(wanted: argparse.Namespace) -> None:
    from vidbench.run import report_now  # it reads the videos of the mistakes again

    report = merge(wanted.folders, wanted.out or wanted.folders[0].parent / "merged")
    report, told = report_now(report["folder"])
    print(table(report))
    print(f"  {told}")


def _verify(wanted: argparse.Namespace) -> None:
    bad = 0
    for folder in wanted.folders:
        try:
            number, problems = verify(folder)
        except UserError as problem:
            number, problems = 0, [str(problem)]
        for problem in problems:
            print(f"{folder}: {problem}")
        if not problems:
            print(f"{folder}: verified, {number:,} files, videos, rows and numbers")
        bad += bool(problems)
    if bad:
        raise UserError(f"{bad} of {len(wanted.folders)} runs are not what they say")


def _ledger(wanted: argparse.Namespace) -> None:
    print(f"written to {write_ledger(wanted.results)}")


if __name__ == "__main__":
    main()
