"""Score a classifier on a data set: python scripts/evaluate.py @scripts/config.txt"""

import logging
import os
import sys

from vidbench.arguments import EvaluateSettings
from vidbench.commands import command_errors, parse_settings
from vidbench.report import table
from vidbench.run import dry_run, evaluate_run


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own start-up lines
    with command_errors("evaluate", debug="--debug" in sys.argv):
        settings = parse_settings(EvaluateSettings, prog="evaluate.py", description=__doc__)
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        if settings.dry_run:
            print(dry_run(settings))
            return
        report = evaluate_run(settings, progress=True)
        print(table(report))
        print(f"  written to {report['folder']}")


if __name__ == "__main__":
    main()
