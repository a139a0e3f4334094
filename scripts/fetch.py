"""Fetch clips of published data sets, each verified: python scripts/fetch.py kinetics|ucf101|hmdb51|verify|status …"""

import logging
import os
import sys
from pathlib import Path

from vidbench.commands import command_errors, command_line, parse_settings
from vidbench.utils import UserError, printable

URL_VARIABLE = "VIDBENCH_KINETICS_URL"
MEANINGS = {
    "kinetics": "clips of Kinetics, out of the CVDF's archives or from YouTube",
    "ucf101": "UCF-101, from an archive or folder that you have",
    "hmdb51": "HMDB51, likewise",
    "verify": "compare fetched folders with their manifests",
    "status": "how many clips of fetched folders are expected, here, missing, bad",
}


def main() -> None:
    words = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
    name = words[0] if words and words[0] in MEANINGS else None
    if name is None:
        usage = "\n".join(f"  {command:<9} {meaning}" for command, meaning in MEANINGS.items())
        text = f"{__doc__}\n\n{usage}\n\nfetch.py COMMAND --help lists a command's flags"
        helped = words[:1] in (["-h"], ["--help"])
        print(text, file=sys.stdout if helped else sys.stderr)
        raise SystemExit(0 if helped else 2)
    with command_errors("fetch") as ending:
        from vidbench import arguments as known  # here, so that Ctrl-C while they load ends as it does later

        classes = {"kinetics": known.FetchSettings, "verify": known.VerifySettings, "status": known.StatusSettings}
        settings = parse_settings(
            classes.get(name, known.FoldsSettings), words[1:], prog=f"fetch.py {name}", description=MEANINGS[name]
        )
        ending.debug = settings.debug
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        if name == "kinetics":
            _kinetics(settings, ending)
        elif name in ("ucf101", "hmdb51"):
            _folds(name, settings)
        else:
            _look(name, settings)


def _kinetics(settings, ending) -> None:
    from vidbench.data.fetch import CVDF, KineticsFetch, fetch_from_archives, fetch_from_youtube
    from vidbench.data.fetch.kinetics import kinetics_folder
    from vidbench.data.fetch.status import kept_in

    folder = kinetics_folder(settings.version, settings.split, settings.data_dir)
    same = (
        "version", "split", "num_videos", "classes", "order", "seed", "jobs", "replacements", "keep_archives",
        "max_bytes", "retry_failed", "decode_timeout",
    )  # fmt: skip
    base_url = settings.base_url or os.environ.get(URL_VARIABLE) or CVDF
    fetch = KineticsFetch(folder=folder, base_url=base_url, **{name: getattr(settings, name) for name in same})
    try:
        if settings.source == "youtube":
            outcome = fetch_from_youtube(fetch, cookies=settings.cookies, sleep=settings.sleep)
        else:
            outcome = fetch_from_archives(fetch, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        ending.interrupted = f"interrupted; {kept_in(folder):,} clips are kept in {folder}, the same command goes on"
        raise
    print("\n".join(outcome.lines()))
    outcome.check()
    if outcome.here < settings.num_videos:
        raise UserError(
            f"{outcome.here:,} of {settings.num_videos:,} clips could be had; {folder / 'missing.csv'} names the others"
        )


def _folds(name: str, settings) -> None:
    from vidbench.data.datasets import ROOT
    from vidbench.data.fetch.folds import fetch_folds

    folder = settings.data_dir or ROOT / "data" / "raw" / name
    progress = sys.stderr.isatty()
    counts = fetch_folds(
        name, folder, archive=settings.archive, splits=settings.splits, progress=progress, jobs=settings.jobs
    )
    print(f"{name}: " + ", ".join(f"{key} {value:,}" for key, value in counts.items()) + printable(f"; in {folder}"))
    if lacking := counts["missing"] + counts["bad"]:
        raise UserError(
            f"{lacking:,} of {counts['expected']:,} videos are not here; {folder / 'missing.csv'} says which, and why"
        )


def _look(name: str, settings) -> None:
    from vidbench.data.fetch import status_of

    wrong: list[str] = []
    for folder in map(Path, settings.folders):
        try:
            if name == "status":
                print(f"{printable(str(folder))}\n{status_of(folder, settings.by_class)}")
            elif problems := _verify(folder, settings):
                wrong.append(f"{folder}: {problems}")
        except UserError as problem:  # the other folders are looked at all the same
            wrong.append(str(problem))
    if wrong:
        raise UserError("; ".join(wrong))


def _verify(folder: Path, settings) -> str:
    """What is wrong with a folder, in a few words; "" where nothing is. The details are printed."""
    from vidbench.data.fetch import verify_folder

    found = verify_folder(folder, settings.deep, settings.jobs, settings.decode_timeout, put_aside=settings.put_aside)
    print("\n".join([printable(line) for line in (f"{folder}: {found.verified:,} clips verified", *found.problems)]))
    if not found.problems:
        return ""
    if not found.changed:
        return "not what the manifest says"
    if settings.put_aside:
        return "changed clips were put aside in .rejected: the same fetch as before gets them anew"
    return "not what the manifest says; --put-aside moves changed clips away, and the same fetch gets them anew"


if __name__ == "__main__":
    main()
