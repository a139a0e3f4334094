"""Which long videos: a file, a folder, or an address or a search that yt-dlp fetches."""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidbench.data.datasets.tables import video_files
from vidbench.data.fetch.failures import words_of
from vidbench.data.images import is_frame
from vidbench.utils import UserError, extra_module

log = logging.getLogger(__name__)
YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
FORMATS = "b[height<=480][ext=mp4]/b[height<=480]/bv[height<=480]/b/bv"  # one file: nothing to merge, no ffmpeg
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class LongVideo:
    """A video to scan, and the eleven characters that stand for it in tables and clips' names."""

    youtube_id: str
    path: Path


def is_address(where: str) -> bool:
    """Whether yt-dlp is asked: an http address, or a search such as `ytsearch5:flying a kite`."""
    return bool(re.match(r"https?://|ytsearch(?:\d+|all)?:", where))


def list_videos(where: str | Path) -> list[LongVideo]:
    """The videos of a file or folder, sorted. Raises UserError where there are none."""
    root = Path(where)
    if root.is_dir():
        videos = [LongVideo(id_of(path.relative_to(root)), path) for path in video_files(root) if not is_frame(path)]
    elif root.exists() or root.is_symlink():
        videos = [LongVideo(id_of(Path(root.name)), root)]
    else:
        raise UserError(f"no such file or folder: {root}")
    if not videos:
        raise UserError(f"no videos in {root}")
    return videos


def id_of(path: Path) -> str:
    """Eleven characters for a video's path: its YouTube id where that is the file's name, else made of the path.

    Kinetics' tables and file names have eleven, and the kit's loaders count on it.

    >>> id_of(Path("a/aQ1-_bcdefg.mp4")), id_of(Path("holiday.mp4")), id_of(Path("2/holiday.mp4"))
    ('aQ1-_bcdefg', 'holirvfriw5', 'holilqb4i9h')
    """
    if YOUTUBE_ID.fullmatch(path.stem):
        return path.stem
    number = int(hashlib.sha256(path.as_posix().encode(errors="surrogateescape")).hexdigest(), 16)
    start = re.sub(r"[^0-9A-Za-z]", "", path.stem.encode("ascii", "ignore").decode())[:4]
    return start + "".join(LETTERS[number // 36**place % 36] for place in range(11 - len(start)))


def fetch_videos(address: str, folder: Path) -> list[LongVideo]:
    """Fetch what yt-dlp finds at an address or by a search into `folder`, as `<id>.<ending>`; what lies there stays.

    Those of a search that do not come are logged. Raises UserError, one line with the reason, where nothing came and
    nothing was there.
    """
    yt_dlp = extra_module("yt_dlp", "fetch")
    folder.mkdir(parents=True, exist_ok=True)
    problems = _Problems()
    options = {
        "format": FORMATS,
        "outtmpl": str(folder).replace("%", "%%") + "/%(id)s.%(ext)s",
        "ignoreerrors": True,  # one video that is gone does not end a search
        "socket_timeout": TIMEOUT_SECONDS,
        "js_runtimes": {"deno": {}, "node": {}},
        "cachedir": False,
        "fixup": "never",
        "updatetime": False,
        "quiet": True,
        "noprogress": True,
        "logger": problems,
    }
    with yt_dlp.YoutubeDL(options) as library:
        found = library.extract_info(address)
        entries = [found] if found and "entries" not in found else list((found or {}).get("entries") or ())
        paths = sorted({Path(library.prepare_filename(entry)) for entry in entries if entry})
    videos = [LongVideo(id_of(Path(path.name)), path) for path in paths if path.is_file()]
    if not videos:
        raise UserError(
            f"{address}: nothing could be fetched: {words_of((problems.seen or ['nothing was found'])[-1])}"
        )
    for problem in problems.seen:
        log.warning("not fetched: %s", words_of(problem))
    return videos


class _Problems:
    """yt-dlp's messages: errors are kept."""

    def __init__(self):
        self.seen: list[str] = []

    def debug(self, message: str) -> None:
        pass

    info = warning = debug

    def error(self, message: str) -> None:
        self.seen.append(message)


def unique_ids(videos: Sequence[LongVideo]) -> None:
    """Raise UserError where two videos have one id: their clips would have the same names."""
    seen: dict[str, Path] = {}
    for video in videos:
        if video.youtube_id in seen:
            raise UserError(f"{seen[video.youtube_id]} and {video.path} have the same name: rename one")
        seen[video.youtube_id] = video.path
