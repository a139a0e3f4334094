"""Clips from YouTube itself: only the annotated seconds, by yt-dlp, which asks ffmpeg to cut them out on the way."""

import logging
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from vidbench.data.datasets.tables import video_files
from vidbench.data.fetch.failures import JAVASCRIPT, KINDS, Kind, kind_of, words_of
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Row
from vidbench.data.fetch.wanted import Wanted
from vidbench.data.staging import full, staging
from vidbench.utils import UserError, extra_module

log = logging.getLogger(__name__)
FORMATS = "bv[height<=360][vcodec^=avc1]/b[height<=360][vcodec^=avc1]/bv*[height<=360]/wv*"  # H.264 first, no sound
ENCODING = ["-an", "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p"]  # exact cuts are encoded anew in any case
ENCODING += ["-vf", r"scale=-2:trunc(min(360\,ih)/2)*2", "-f", "mp4"]
NETSCAPE = re.compile("# ?(?:Netscape )?HTTP Cookie File")
EXPIRES = re.compile(r"(?:\d+(?:\.\d+)?)?")
TIMEOUT_SECONDS = 30
WAITS = (60.0, 300.0, 1200.0, 3600.0)  # seconds after each rate limit in a row; YouTube's lasts up to an hour


def watch_address(youtube_id: str) -> str:
    """Where YouTube shows a video."""
    return f"https://www.youtube.com/watch?v={youtube_id}"


def fetch_youtube(
    clips: Sequence[Wanted],
    folder: Path,
    gate: Gate,
    *,
    cookies: Path | None = None,
    sleep: tuple[float, float] = (5.0, 10.0),
    retry_failed: bool = False,
    num_videos: int = 0,
    progress: bool = False,
    address: Callable[[str], str] = watch_address,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch `clips` in their order to `folder`, as `{key}.mp4`: H.264 without sound, at most 360 lines, exact seconds.

    Clips that lie there are not fetched again; with `num_videos` it stops when so many of `clips` lie there. What
    comes passes the `gate`, what does not come becomes a row "failed" of its manifest, reason "<kind>: <words>".
    Videos that are gone for good are not asked for again unless `retry_failed`.

    cookies: a file in Netscape's format, for videos that need a login; yt-dlp writes renewed ones back into it
    sleep: seconds between two videos, at random from the first to the second number
    address: YouTube id → address; wait: how to wait

    Raises UserError where yt-dlp or ffmpeg is missing, where YouTube, the network or the disk ends it all (what came
    is kept), and while another process does the same.
    """
    if cookies is not None:
        check_cookies(cookies)
    lying = {path.stem: path for path in video_files(folder)} if folder.is_dir() else {}
    with staging(folder, alone="youtube") as parts, _ffmpeg_first(parts), _Session(parts, cookies) as session:
        gate.manifest.refresh()
        run = _Run(folder, gate, session, address, sleep, wait)
        for clip in tqdm(clips, unit="clip", desc="YouTube", disable=not progress):
            if num_videos and run.kept >= num_videos:
                break
            if run.lies_here(clip, lying.get(clip.key)):
                continue
            if retry_failed or not _hopeless(gate.manifest.rows.get(clip.key), address(clip.youtube_id), cookies):
                run.fetch(clip)


def check_cookies(path: Path) -> None:
    """Raise UserError unless every line is as Netscape's format wants it; it tells no line, since those are secrets.

    yt-dlp itself would print a line that it cannot read.
    """
    wrong = f"{path} is no cookies file in Netscape's format (cookies.txt, as a browser's extension exports it): "
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except UnicodeDecodeError:
        raise UserError(f"{wrong}it is no text") from None
    if not lines or not NETSCAPE.match(lines[0]):
        raise UserError(f"{wrong}its first line is not '# Netscape HTTP Cookie File'")
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix("#HttpOnly_")
        if line.strip() and not line.startswith("#"):
            cells = line.split("\t")
            if len(cells) != 7 or not EXPIRES.fullmatch(cells[4]):
                raise UserError(f"{wrong}line {number} has not the seven fields of a cookie")


def _hopeless(row: Row | None, source: str, cookies: Path | None) -> bool:
    """Whether a clip was asked for at this address before and will not come now either."""
    if row is None or row.source != source:
        return False
    kind = KINDS.get(row.reason.partition(":")[0]) if row.status == "failed" else None
    cut_short = row.status == "bad"  # the video has other seconds now than were annotated
    return cut_short or bool(kind and (kind.again == "never" or (kind.again == "cookies" and not cookies)))


class _Run:
    """What is known of one call: how many clips are `kept`, and which failures come one after the other."""

    def __init__(self, folder: Path, gate: Gate, session: "_Session", address, sleep, wait):
        self.folder, self.gate, self.session, self.address = folder, gate, session, address
        self.sleep, self.wait = sleep, wait
        self.kept, self.asked = 0, 0
        self.trouble, self.times = "", 0  # the kind of the last failure, and how often in a row

    def lies_here(self, clip: Wanted, path: Path | None) -> bool:
        """Whether a clip is in the folder; one without a row, placed by hand or before a kill, is verified first."""
        row = self.gate.manifest.rows.get(clip.key)
        here = bool(row and row.status == "ok" and (self.folder / row.path).is_file())
        if not here and path is not None and path.is_file():
            known = {"key": clip.key, "label": clip.label, "source": "here", "seconds": clip.seconds}
            here = self.gate.admit(path, path, **known).status == "ok"
        self.kept += here
        return here

    def fetch(self, clip: Wanted) -> None:
        """Ask for one clip; raises UserError where the next ones would not come either."""
        source, waits = self.address(clip.youtube_id), iter(WAITS)
        message = self._asked(clip, source)
        while message and kind_of(message) == "rate-limited" and (pause := next(waits, None)):
            log.warning("YouTube limits the rate: waiting %g minutes", pause / 60)
            self.wait(pause)
            message = self._asked(clip, source)
        if message:
            self._failed(clip, source, message)
            return
        self.trouble, self.times = "", 0
        target = self.folder / f"{clip.key}.mp4"
        known = {"key": clip.key, "label": clip.label, "source": source, "seconds": clip.seconds}
        self.kept += self.gate.admit(self.session.part, target, **known).status == "ok"

    def _asked(self, clip: Wanted, source: str) -> str:
        """Have the session download a clip, politely; "" or what went wrong."""
        if self.asked:
            self.wait(random.uniform(*self.sleep))
        self.asked += 1
        return self.session.download(source, clip)

    def _failed(self, clip: Wanted, source: str, message: str) -> None:
        name = kind_of(message)
        kind = KINDS.get(name, Kind(""))
        words = words_of(message) + (f" ({JAVASCRIPT})" if kind.advice == JAVASCRIPT else "")
        log.info("%s: %s: %s", clip.key, name, words)
        if name == "disk full":
            raise full(self.folder)
        self.gate.note(Row(clip.key, clip.label, source, status="failed", reason=f"{name}: {words}"))
        self.times = self.times + 1 if name == self.trouble else 1
        self.trouble = name
        kept = f"the {self.kept} clips that came are kept, the same call goes on"
        if name == "rate-limited":
            raise UserError(f"YouTube limits the rate, {len(WAITS)} waits did not help: {words}; try later; {kept}")
        if kind.patience and self.times >= kind.patience:
            raise UserError(f"{self.times} videos in a row did not come: {words}; {kind.advice}; {kept}")


class _Session:
    """yt-dlp, for one clip after the other; each lands in `part`. Use as a context manager."""

    def __init__(self, parts: Path, cookies: Path | None):
        self.part, self._clip = parts / "clip.mp4", None
        self._options = {
            "format": FORMATS,
            "download_ranges": self._seconds,
            "force_keyframes_at_cuts": True,
            "outtmpl": str(self.part).replace("%", "%%"),
            "external_downloader_args": {
                "ffmpeg_i": ["-rw_timeout", str(TIMEOUT_SECONDS * 1_000_000)],  # else a silent server is waited for
                "ffmpeg_o": ENCODING,
            },
            "socket_timeout": TIMEOUT_SECONDS,
            "cookiefile": str(cookies) if cookies else None,
            "js_runtimes": {"deno": {}, "node": {}},
            "noplaylist": True,
            "cachedir": False,
            "fixup": "never",
            "updatetime": False,
            "quiet": True,
            "noprogress": True,
            "logger": _Quiet(),
        }

    def __enter__(self) -> "_Session":
        yt_dlp = extra_module("yt_dlp", "fetch")
        try:
            self._library = yt_dlp.YoutubeDL(self._options)
            _ = self._library.cookiejar  # read here, so that a broken file does not look like a broken video
        except (yt_dlp.cookies.CookieLoadError, yt_dlp.utils.DownloadError):
            raise UserError(f"{self._options['cookiefile']} is no cookies file in Netscape's format") from None
        return self

    def __exit__(self, *problem) -> None:
        self._library.close()

    def download(self, source: str, clip: Wanted) -> str:
        """Fetch the seconds of a clip into `part`; "" or what went wrong. Whatever it is, it ends no run."""
        for left in self.part.parent.glob(f"{self.part.name}*"):
            left.unlink()
        self._clip = clip
        try:
            self._library.extract_info(source)
        except Exception as problem:  # yt-dlp's own errors, and whatever a page that it does not know makes it raise
            return str(problem) or type(problem).__name__
        return "" if self.part.is_file() else "yt-dlp left no file"

    def _seconds(self, info: dict, _library) -> list[dict[str, float]]:
        duration, clip = info.get("duration"), self._clip
        if duration and clip.start >= duration:
            raise ValueError(f"the video ends at {duration:g} s, the clip begins at {clip.start:g} s")
        return [{"start_time": clip.start, "end_time": clip.end}]


class _Quiet:
    """yt-dlp's messages, for those who look: errors arrive as exceptions besides."""

    def debug(self, message: str) -> None:
        log.debug("%s", message)

    info = warning = error = debug


@contextmanager
def _ffmpeg_first(parts: Path) -> Iterator[None]:
    """Have an ffmpeg that writes H.264 first on PATH, where yt-dlp looks: its option for another place is not enough.

    The system's if it can, else that of imageio-ffmpeg, whose file has another name, by a link in `parts`.
    """
    if _writes_h264(shutil.which("ffmpeg")):
        yield
        return
    try:
        binary = extra_module("imageio_ffmpeg", "fetch").get_ffmpeg_exe()
    except RuntimeError as problem:  # a machine that its wheels have no file for
        raise UserError(f"no ffmpeg that writes H.264 is on PATH, and imageio-ffmpeg has none: {problem}") from None
    folder = parts / "bin"
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(Path(binary).resolve())
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _writes_h264(ffmpeg: str | None) -> bool:
    if not ffmpeg:
        return False
    told = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
    return "libx264" in told.stdout
