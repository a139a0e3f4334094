"""Compare runs on the same videos: python scripts/compare.py results/A results/B [--fuse] [--figure FILE]"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    with command_errors("compare") as ending:
        from vidbench.arguments import CompareSettings  # here, so that Ctrl-C while they load ends as it does later
        from vidbench.compare import compare_runs
        from vidbench.compare_tables import comparison_table, write_comparison

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(CompareSettings, arguments, prog="compare.py", description=__doc__)
        ending.debug = settings.debug
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        result = compare_runs(settings.runs, settings.fuses, settings.weights)
        print(comparison_table(result))
        written = write_comparison(
            result,
            markdown=settings.markdown,
            latex=settings.latex,
            figure=settings.figure,
            flips=settings.flips,
            fused=settings.fused,
        )
        if written:
            print(f"written: {', '.join(map(str, written))}")


if __name__ == "__main__":
    main()
