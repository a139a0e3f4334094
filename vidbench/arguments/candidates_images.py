"""The settings of scripts/candidates.py images."""

from dataclasses import dataclass
from pathlib import Path

from vidbench.arguments.setting import above, byte_count, comma_list, setting
from vidbench.utils import UserError


@dataclass(frozen=True)
class ImagesSettings:
    """The flags of scripts/candidates.py images."""

    actions: Path | None = setting(None, "a file of actions, one a line: name, or name: search words", metavar="FILE")
    out_path: Path | None = setting(None, "where the images go, in a folder an action", metavar="DIR")
    images_per_action: int | None = setting(None, "until so many are there (default: 100; of clips: all)")
    num_workers: int = setting(8, "downloads at once; of clips: decoding processes, at most the processors at hand")
    licenses: tuple = setting((), "only these, e.g. cc0,pdm,by,by-sa (default: all that are open)", comma_list, "A,B")
    min_side: int | None = setting(None, "pixels that an image's shorter side must have (default: 200; of clips: any)")
    max_image_bytes: float | None = setting(
        None, "of one image, e.g. 5M (default: 20M)", byte_count("--max-image-bytes"), "BYTES"
    )
    timeout: float = setting(60.0, "seconds that one image may take")
    base_url: str | None = setting(
        None, "of the search (default: the environment variable VIDBENCH_OPENVERSE_URL, else Openverse's public API)",
        metavar="URL",
    )  # fmt: skip
    retry_rejected: bool = setting(False, "look again at images that were not taken before")
    from_clips: Path | None = setting(
        None, "frames of labelled clips in place of a search: a folder of class folders, or any data set; no network",
        metavar="DIR",
    )  # fmt: skip
    dataset: str | None = setting(None, "what --from-clips is: folder (default), annotations, kinetics, ucf101, hmdb51")
    split: str = setting("train", "which split of --from-clips: train, val or test")
    frames_per_clip: int = setting(4, "frames of a clip, spread over it")
    background: Path | None = setting(
        None, "a folder of videos that show none of the actions: frames of the class 'none of these'", metavar="DIR"
    )
    decode_timeout: float = setting(60.0, "seconds after which a clip that is not decoded is given up")
    frames_fps: float = setting(25.0, "frames a second that folders of frames are taken to have")
    seed: int = setting(0, "of the order of the clips")
    debug: bool = setting(False, "show the traceback behind an error line")

    def __post_init__(self):
        if self.out_path is None:
            raise UserError("--out-path DIR is needed: where the images go")
        if not (self.actions or self.from_clips or self.background):
            raise UserError("--actions FILE is needed, or --from-clips DIR, or --background DIR")
        for name in ("images_per_action", "num_workers", "min_side", "timeout", "frames_per_clip", "decode_timeout"):
            above(self, name, 0)
        above(self, "frames_fps", 0)
        above(self, "seed", -1)
        if self.dataset and not self.from_clips:
            raise UserError("--dataset says what --from-clips is: --from-clips DIR is needed")
