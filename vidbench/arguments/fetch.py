"""The settings of scripts/fetch.py: one class a subcommand."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, byte_count, comma_list, numbers, one_of, setting
from vidbench.utils import UserError

SLEEP = (5.0, 10.0)


def class_names(text: str) -> tuple[str, ...]:
    """'zumba,yoga' → ('zumba', 'yoga'); none at all, as of a shell variable that is not set, would fetch everything."""
    names = comma_list(text)
    if not names:
        raise UserError("--classes: no class is named")
    return names


@dataclass(frozen=True)
class FetchSettings:
    """The flags of scripts/fetch.py kinetics."""

    version: str = setting("400", "400, 600 or 700-2020", also=("kinetics-version",))
    split: str = setting("val", "train, val or test", also=("kinetics-split",))
    num_videos: int = setting(0, "until so many clips are there, those that are there already counted; 0 is all")
    classes: tuple = setting((), "only these classes, separated by commas", class_names, "A,B")
    order: str = setting(
        "first",
        "first: archive by archive, clips as they come, which is cheap; random: a random sample of the split, which "
        "reads nearly every archive, and says before how many bytes that is; --source youtube always takes a sample",
    )
    seed: int = setting(0, "of the order of archives or of the sample")
    jobs: int = setting(1, "archives that are read at once")
    source: str = setting("archives", "archives (the CVDF's), or youtube, clip by clip (pip install -e .[fetch])")
    replacements: bool = setting(False, "also Kinetics-400's replacements for corrupt train clips")
    keep_archives: bool = setting(False, "fetch whole archives and keep them, in DIR/archives")
    max_bytes: int | None = setting(
        None, "receive no more than this of archives, e.g. 500M or 2G", byte_count("--max-bytes"), "BYTES"
    )
    retry_failed: bool = setting(False, "try clips again that were bad or failed before")
    base_url: str | None = setting(
        None,
        "of a mirror (default: the environment variable VIDBENCH_KINETICS_URL, else the CVDF's host)",
        metavar="URL",
    )
    cookies: Path | None = setting(None, "a cookie file for --source youtube", metavar="FILE")
    sleep: tuple = setting(
        SLEEP, "seconds between two videos of --source youtube, from and to", numbers("--sleep", 2, 2), "X",
        several=True,
    )  # fmt: skip
    data_dir: Path | None = setting(None, "where the clips go (default: data/raw/kinetics/VERSION/SPLIT)")
    decode_timeout: float = setting(60.0, "seconds after which a clip that is not decoded counts as bad")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        one_of(self, "version", ("400", "600", "700-2020"))
        one_of(self, "split", ("train", "val", "test"))
        one_of(self, "order", ("first", "random"))
        one_of(self, "source", ("archives", "youtube"))
        for name in ("num_videos", "seed"):
            above(self, name, -1)
        for name in ("jobs", "decode_timeout"):
            above(self, name, 0)
        if self.replacements and (self.version, self.split) != ("400", "train"):
            raise UserError("--replacements are clips of Kinetics-400's train split: --version 400 --split train")
        if self.base_url == "":  # as of a shell variable that is not set
            raise UserError("--base-url: an empty address")
        if self.cookies and self.source != "youtube":
            raise UserError("--cookies goes with --source youtube")
        if len(self.sleep) != 2 or self.sleep[0] > self.sleep[1]:
            raise UserError(f"--sleep: wanted two numbers, the smaller first, got {self.sleep}")
        if self.sleep != SLEEP and self.source != "youtube":
            raise UserError("--sleep goes with --source youtube")


@dataclass(frozen=True)
class FoldsSettings:
    """The flags of scripts/fetch.py ucf101 and hmdb51."""

    archive: Path | None = setting(
        None, "the authors' archive, or a folder of videos, that you have", metavar="FILE|DIR"
    )
    splits: Path | None = setting(None, "the official split files: an archive or a folder", metavar="FILE|DIR")
    data_dir: Path | None = setting(None, "where the videos go (default: data/raw/ucf101 or data/raw/hmdb51)")
    jobs: int = setting(1, "videos that are verified at once")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        above(self, "jobs", 0)


@dataclass(frozen=True)
class VerifySettings:
    """The flags of scripts/fetch.py verify."""

    folders: tuple = setting((), "fetched folders, those with a manifest.csv", metavar="DIR", positional=True)
    deep: bool = setting(False, "also decode each clip to its end")
    put_aside: bool = setting(False, "move changed clips into DIR/.rejected, so that the next fetch gets them anew")
    jobs: int = setting(1, "clips that are decoded at once")
    decode_timeout: float = setting(60.0, "seconds after which a clip that is not decoded counts as changed")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        for name in ("jobs", "decode_timeout"):
            above(self, name, 0)


@dataclass(frozen=True)
class StatusSettings:
    """The flags of scripts/fetch.py status."""

    folders: tuple = setting((), "fetched folders, those with a manifest.csv", metavar="DIR", positional=True)
    by_class: bool = setting(False, "one row a class")
    debug: bool = setting(False, "show the traceback behind an error line")
