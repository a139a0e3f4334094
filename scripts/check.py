"""Check a data set before it costs hours: python scripts/check.py --dataset folder --data-dir DIR"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    with command_errors("check") as ending:
        from vidbench.arguments import CheckSettings  # here, so that Ctrl-C while they load ends as it does later
        from vidbench.checking import check_run, summary

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(CheckSettings, arguments, prog="check.py", description=__doc__)
        ending.debug = settings.debug
        if settings.cache:
            ending.interrupted = "interrupted; what was looked at is kept in the cache, the same command goes on"
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        print(summary(check_run(settings, progress=True)))
        print(f"written to {settings.folder}: check.csv, pairs.csv, classes.csv, summary.txt, sheet.png")


if __name__ == "__main__":
    main()
