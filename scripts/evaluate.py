"""Score a classifier on a data set: python scripts/evaluate.py @scripts/config.txt"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own start-up lines
    with command_errors("evaluate") as ending:
        from vidbench.arguments import EvaluateSettings  # here, so that Ctrl-C while they load ends as it does later
        from vidbench.cost import dry_run
        from vidbench.report import table
        from vidbench.run import evaluate_run
        from vidbench.utils import UserError

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(EvaluateSettings, arguments, prog="evaluate.py", description=__doc__)
        ending.debug = settings.debug
        if settings.runtime == "jax":
            os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it when it is imported, which comes later
        ending.interrupted = "interrupted; all rows so far are kept, started again without --overwrite it goes on"
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        if settings.dry_run:
            print(dry_run(settings))
            return
        report = evaluate_run(settings, progress=True)
        print(table(report))
        print(f"  written to {report['folder']}")
        if report["counts"]["listed"] and not report["counts"]["scored"]:
            raise UserError(f"no listed video could be scored: {report['folder']}/failures.csv says why")


if __name__ == "__main__":
    main()
