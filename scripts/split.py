"""Share one's own videos out into train, val and test: python scripts/split.py --root DIR [--ratios 80 10 10]"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings


def main() -> None:
    with command_errors("split") as ending:
        from vidbench.arguments import SplitSettings  # here, so that Ctrl-C while they load ends as it does later
        from vidbench.data.datasets import ROOT
        from vidbench.data.splitting import split_folder, split_table

        arguments = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
        settings = parse_settings(SplitSettings, arguments, prog="split.py", description=__doc__)
        ending.debug = settings.debug
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        videos = split_folder(
            settings.root,
            settings.folder,
            gt_csv=settings.gt_csv,
            ratios=settings.ratios,
            group_by=settings.group_by,
            seed=settings.seed,
            overwrite=settings.overwrite,
            progress=True,
            cache_dir=settings.cache_dir or ROOT / "data" / "cache",
            workers=settings.workers,
            decode_timeout=settings.decode_timeout,
            frames_fps=settings.frames_fps,
        )
        print(split_table(videos))
        print(f"written to {settings.folder}: annotations.json, train.csv, val.csv, test.csv")


if __name__ == "__main__":
    main()
