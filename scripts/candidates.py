"""From actions in words to clips of them: python scripts/candidates.py images|train|scan …"""

import logging
import os
import sys

from vidbench.commands import command_errors, command_line, parse_settings

URL_VARIABLE = "VIDBENCH_OPENVERSE_URL"
MEANINGS = {
    "images": "still images of actions, out of an openly licensed search or of clips that you have",
    "train": "an image classifier on folders of still images, an action each",
    "scan": "long videos for the actions it knows: candidate clips, cut and listed as Kinetics does",
}


def main() -> None:
    words = command_line(sys.argv[1:], os.environ.get("JOB_ARGUMENTS"))
    name = words[0] if words and words[0] in MEANINGS else None
    if name is None:
        usage = "\n".join(f"  {command:<6} {meaning}" for command, meaning in MEANINGS.items())
        text = f"{__doc__}\n\n{usage}\n\ncandidates.py COMMAND --help lists a command's flags"
        helped = words[:1] in (["-h"], ["--help"])
        print(text, file=sys.stdout if helped else sys.stderr)
        raise SystemExit(0 if helped else 2)
    with command_errors("candidates") as ending:
        from vidbench import arguments as known  # here, so that Ctrl-C while they load ends as it does later

        classes = {
            "images": known.ImagesSettings,
            "train": known.CandidateTrainSettings,
            "scan": known.CandidateScanSettings,
        }
        settings = parse_settings(classes[name], words[1:], prog=f"candidates.py {name}", description=MEANINGS[name])
        ending.debug = settings.debug
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        {"images": _images, "train": _train, "scan": _scan}[name](settings, ending)


def _images(settings, ending) -> None:
    from vidbench.candidates.images import kept_in, make_images

    base_url = settings.base_url or os.environ.get(URL_VARIABLE)
    try:
        outcome = make_images(settings, base_url, say=_printed)
    except KeyboardInterrupt:
        folder = settings.out_path
        ending.interrupted = f"interrupted; {kept_in(folder):,} images are kept in {folder}, the same command goes on"
        raise
    print("\n".join(outcome.lines()))
    outcome.check()


def _train(settings, ending) -> None:
    from vidbench.candidates.run import train_run

    train_run(settings, _printed)


def _scan(settings, ending) -> None:
    from vidbench.candidates.run import scan_run

    ending.interrupted = f"interrupted; what was scored is kept in {settings.out_dir}, the same command goes on"
    scan_run(settings, _printed)


def _printed(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
