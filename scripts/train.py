"""Train or fine-tune a model: python scripts/train.py @scripts/train.txt"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own start-up lines
    with command_errors("train") as ending:
        from vidbench.arguments import TrainSettings  # here, so that Ctrl-C while they load ends as it does later

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(TrainSettings, arguments, prog="train.py", description=__doc__)
        ending.debug = settings.debug
        ending.interrupted = "interrupted; the last save is kept, the same command goes on from it"
        logging.basicConfig(level=logging.INFO if settings.verbose else logging.WARNING, format="%(message)s")
        from vidbench.train import train_run, train_table

        report = train_run(settings, progress=True)
        if report:  # only the first of several processes has one
            print(train_table(report))


if __name__ == "__main__":
    main()
