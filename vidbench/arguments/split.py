"""The settings of scripts/split.py."""

import re
from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, ratios, setting
from vidbench.utils import UserError


@dataclass(frozen=True)
class SplitSettings:
    """The flags of scripts/split.py."""

    root: Path | None = setting(None, "a folder of class folders, DIR/<class>/*; with --gt-csv, of folders of frames")
    gt_csv: Path | None = setting(None, "the labels of folders of frames: youtube_id,folder_name,label")
    ratios: tuple = setting((80, 10, 10), "of train, val and test; 0 or left out: no test", ratios, "X", several=True)
    group_by: str | None = setting(
        None,
        "videos in whose path below --root this finds the same (its first group, else the whole match) stay "
        "together (default: what names as in UCF-101, HMDB51 and Kinetics tell, else each video alone); auto: so do "
        "videos that show the same, also re-encoded, mirrored or trimmed, beside what names tell",
        metavar="REGEX|auto",
    )
    workers: int | None = setting(None, "decoding processes of --group-by auto (default: the processors at hand)")
    decode_timeout: float = setting(60.0, "seconds after which --group-by auto gives a video up")
    frames_fps: float = setting(25.0, "frames a second that folders of frames are taken to have")
    cache_dir: Path | None = setting(
        None, "where what videos look like is kept (default: data/cache of the repository)"
    )
    seed: int = setting(0, "of the order in which videos are shared out")
    out: Path | None = setting(None, "where annotations.json, train.csv, val.csv, test.csv go (default: --root)")
    overwrite: bool = setting(False, "replace these files where they are there")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        if self.root is None:
            raise UserError("--root DIR is needed: the folder of the videos")
        above(self, "seed", -1)
        for name in ("workers", "decode_timeout", "frames_fps"):
            above(self, name, 0)
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as problem:
                raise UserError(f"--group-by {self.group_by!r} is no regular expression: {problem}") from None

    @property
    def folder(self) -> Path:
        """Where the files go: `--out`, else `--root`."""
        return self.out or self.root
