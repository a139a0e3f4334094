"""Clips out of a server on loopback that sends real videos, by yt-dlp's generic extractor and a real ffmpeg."""

import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import write_video
from filelock import FileLock

from vidbench.data.fetch.failures import KINDS, kind_of
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Manifest
from vidbench.data.fetch.wanted import Wanted
from vidbench.data.fetch.youtube import WAITS, fetch_youtube
from vidbench.utils import UserError

FPS, SECONDS, FIRST = 10, 15, 60  # frame number i of the served video is grey, FIRST + i bright
IDS = [f"{letter * 9}_-" for letter in "abcdefgh"]


class Tube(http.server.BaseHTTPRequestHandler):
    """Sends one video under every address, by range; or, one after the other, what `answers` has for an id."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, name = self.server, self.path.rpartition("=")[2]
        cuts = self.headers.get("Range")  # ffmpeg asks for ranges, yt-dlp before it for the address alone
        server.asked.append((name, "cut" if cuts else "look", self.headers.get("Cookie")))
        if not cuts and server.answers.get(name):
            self.send_response(*server.answers[name].pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(re.match(r"bytes=(\d+)-", cuts)[1]) if cuts else 0
        body = server.video[start:]
        self.send_response(206 if cuts else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        if cuts:
            self.send_header("Content-Range", f"bytes {start}-{len(server.video) - 1}/{len(server.video)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if cuts and not server.flows.is_set():  # half of it, then nothing
                self.wfile.write(body[: len(body) // 2])
                server.stuck.set()
                server.flows.wait(60)
                body = body[len(body) // 2 :]
            self.wfile.write(body)
        except OSError:
            pass  # whoever asked has heard enough
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    frames = np.empty((FPS * SECONDS, 400, 96, 3), np.uint8)
    frames[:] = FIRST + np.arange(FPS * SECONDS)[:, None, None, None]
    path = tmp_path_factory.mktemp("served") / "video.mp4"
    return write_video(path, frames, FPS, codec="libx264", movflags="+faststart").read_bytes()


@pytest.fixture
def tube(video):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tube) as server:
        server.video, server.asked, server.answers = video, [], {}
        server.flows, server.stuck = threading.Event(), threading.Event()
        server.flows.set()
        server.base = f"http://127.0.0.1:{server.server_port}/watch?v="
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.flows.set()
        server.shutdown()


def wanted(number: int, start: int = 3, end: int = 7) -> Wanted:
    return Wanted.of(f"{IDS[number]}_{start:06d}_{end:06d}", "flying kites")


def fetch(tube, folder: Path, *clips: Wanted, **options) -> list[float]:
    """Returns how long it would have waited."""
    waits: list[float] = []
    options = {"wait": waits.append, "sleep": (0.25, 0.25), **options}
    with Gate(folder, Manifest(folder)) as gate:
        fetch_youtube(clips, folder, gate, address=lambda youtube_id: tube.base + youtube_id, **options)
    return waits


def looks(tube) -> list[str]:
    """The ids that were asked for."""
    return [name for name, what, _ in tube.asked if what == "look"]


def seen(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def left(folder: Path) -> list[Path]:
    """What lies there of unfinished work."""
    return [path for path in (folder / ".incoming").glob("*") if path.is_dir()]


def brightness(path: Path) -> np.ndarray:
    """The mean of each frame."""
    with av.open(str(path)) as box:
        return np.array([frame.to_ndarray(format="rgb24").mean() for frame in box.decode(video=0)])


def streams(path: Path) -> list[tuple[str, int, int]]:
    """(codec, width, height) of each."""
    with av.open(str(path)) as box:
        contexts = [stream.codec_context for stream in box.streams]
        return [(context.name, context.width, context.height) for context in contexts]


def test_exactly_the_annotated_seconds_come_small_and_as_h264(tmp_path, tube):
    clips = [wanted(0, 3, 7), wanted(1, 0, 2), wanted(0, 11, 15)]
    before = os.environ.get("PATH")
    waits = fetch(tube, tmp_path / "val", *clips, sleep=(5.0, 10.0))
    assert os.environ.get("PATH") == before
    assert len(waits) == 2 and all(5 <= pause <= 10 for pause in waits)  # between videos, not before the first
    assert seen(tmp_path / "val") == sorted([f"{clip.key}.mp4" for clip in clips] + ["manifest.csv"])
    rows = Manifest(tmp_path / "val").rows
    for clip in clips:
        grey = brightness(tmp_path / "val" / f"{clip.key}.mp4")
        assert len(grey) == FPS * clip.seconds
        np.testing.assert_allclose(grey, FIRST + FPS * clip.start + np.arange(len(grey)), atol=2.5)
        assert streams(tmp_path / "val" / f"{clip.key}.mp4") == [("h264", 86, 360)]  # 96 × 360 / 400, made even
        row = rows[clip.key]
        assert (row.status, row.label, row.frames, row.height) == ("ok", "flying kites", len(grey), 360)
        assert row.source == tube.base + clip.youtube_id and len(row.sha256) == 64
    assert not left(tmp_path / "val")


def test_a_second_call_asks_for_nothing_that_lies_there(tmp_path, tube):
    clips = [wanted(number) for number in range(3)]
    fetch(tube, tmp_path, clips[0])
    (tmp_path / f"{clips[0].key}.mp4").rename(tmp_path / f"{clips[1].key}.mp4")  # as if placed by hand
    (tmp_path / f"{clips[2].key}.mp4").write_bytes(b"half a video")
    tube.asked.clear()
    fetch(tube, tmp_path, clips[1])
    assert not tube.asked and Manifest(tmp_path).rows[clips[1].key].source == "here"
    fetch(tube, tmp_path, *clips)
    assert looks(tube) == [IDS[0], IDS[2]]
    rows = Manifest(tmp_path).rows
    assert {row.status for row in rows.values()} == {"ok"}
    assert (tmp_path / ".rejected" / f"{clips[2].key}.mp4").read_bytes() == b"half a video"


def test_a_number_of_videos_is_enough(tmp_path, tube):
    clips = [wanted(number) for number in range(4)]
    tube.answers[IDS[0]] = [(404,)]
    fetch(tube, tmp_path, *clips, num_videos=2)
    assert seen(tmp_path) == [f"{IDS[1]}_000003_000007.mp4", f"{IDS[2]}_000003_000007.mp4", "manifest.csv"]
    fetch(tube, tmp_path, *clips, num_videos=3)
    assert looks(tube) == IDS[:4] and len(seen(tmp_path)) == 4


def test_failures_are_remembered_by_kind_and_end_no_run(tmp_path, tube):
    said = {
        0: ((404,), "removed: Unable to download webpage: HTTP Error 404: Not Found"),
        1: ((404, "Private video"), "private: Unable to download webpage: HTTP Error 404: Private video"),
        2: ((403,), "format: Unable to download webpage: HTTP Error 403: Forbidden (often for want of a JavaScript"),
        3: ((500,), "network: Unable to download webpage: HTTP Error 500: Internal Server Error"),
        4: ((404, "not available in your country"), "country: "),
    }
    tube.answers = {IDS[number]: [answer] * 3 for number, (answer, _) in said.items()}
    clips = [wanted(number) for number in range(6)]
    fetch(tube, tmp_path, *clips)
    assert looks(tube) == IDS[:6] and seen(tmp_path) == [f"{clips[5].key}.mp4", "manifest.csv"]
    rows = Manifest(tmp_path).rows
    for number, (_, reason) in said.items():
        row = rows[clips[number].key]
        assert row.status == "failed" and row.reason.startswith(reason) and row.source == tube.base + IDS[number]
    tube.asked.clear()
    fetch(tube, tmp_path, *clips)
    assert looks(tube) == [IDS[2], IDS[3]]  # those that may come another day
    tube.asked.clear()
    fetch(tube, tmp_path, *clips, retry_failed=True)
    assert looks(tube) == IDS[:5]


def test_a_video_that_is_shorter_now_is_put_aside_and_not_asked_for_again(tmp_path, tube):
    clips = [wanted(0, 12, 22), wanted(1, 40, 50)]
    fetch(tube, tmp_path, *clips)
    rows = Manifest(tmp_path).rows
    assert rows[clips[0].key].reason == "lasts 3.0 s instead of 10 s"
    assert (rows[clips[0].key].status, rows[clips[0].key].path) == ("bad", f".rejected/{clips[0].key}.mp4")
    assert rows[clips[1].key].status in ("bad", "failed") and seen(tmp_path) == ["manifest.csv"]
    tube.asked.clear()
    fetch(tube, tmp_path, clips[0])
    assert not tube.asked
    fetch(tube, tmp_path, clips[0], retry_failed=True)
    assert looks(tube) == [IDS[0]]


def test_a_failure_elsewhere_says_nothing_about_youtube(tmp_path, tube):
    (tmp_path / "manifest.csv").write_text(
        f"key,source,status,reason\n{wanted(0).key},http://archive/part_1.tar.gz,bad,cut off\n"
    )
    fetch(tube, tmp_path, wanted(0))
    assert Manifest(tmp_path).rows[wanted(0).key].status == "ok"


def test_a_rate_limit_is_waited_for_longer_each_time(tmp_path, tube):
    tube.answers[IDS[1]] = [(429,), (429,)]
    waits = fetch(tube, tmp_path, wanted(0), wanted(1))
    assert waits == [0.25, WAITS[0], 0.25, WAITS[1], 0.25] and len(seen(tmp_path)) == 3


def test_a_rate_limit_that_stays_ends_the_run_and_keeps_what_came(tmp_path, tube):
    tube.answers[IDS[1]] = [(429,)] * (len(WAITS) + 1)
    with pytest.raises(UserError, match=r"limits the rate, 4 waits did not help.*the 1 clips that came are kept"):
        fetch(tube, tmp_path, *map(wanted, range(3)))
    assert looks(tube) == [IDS[0]] + [IDS[1]] * 5
    assert Manifest(tmp_path).rows[wanted(1).key].reason.startswith("rate-limited: ")
    fetch(tube, tmp_path, *map(wanted, range(3)))
    assert len(seen(tmp_path)) == 4


def test_without_a_network_not_every_video_is_tried(tmp_path, tube):
    tube.base = "http://127.0.0.1:9/watch?v="
    with pytest.raises(UserError, match=r"5 videos in a row did not come: .*refused.*is the network up\?"):
        fetch(tube, tmp_path, *map(wanted, range(8)))
    assert len(Manifest(tmp_path).rows) == 5


def test_a_video_that_comes_in_between_shows_that_the_network_is_up(tmp_path, tube):
    tube.answers = {name: [(500,)] for name in IDS if name != IDS[4]}
    fetch(tube, tmp_path, *map(wanted, range(8)))  # four fail, one comes, three fail
    assert looks(tube) == IDS


def test_a_bot_check_asks_for_cookies(tmp_path, tube):
    tube.answers = {name: [(404, "Sign in to confirm you're not a bot")] for name in IDS}
    with pytest.raises(UserError, match=r"3 videos in a row did not come: .*--cookies FILE"):
        fetch(tube, tmp_path, *map(wanted, range(8)))


def test_cookies_are_sent_and_bring_back_what_needed_them(tmp_path, tube):
    tube.answers[IDS[0]] = [(404, "Sign in to confirm your age")]
    fetch(tube, tmp_path / "v", wanted(0))
    fetch(tube, tmp_path / "v", wanted(0))
    assert looks(tube) == [IDS[0]]  # asked again, it would say the same
    jar = tmp_path / "cookies.txt"
    jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tlogin\tme\n")
    fetch(tube, tmp_path / "v", wanted(0), cookies=jar)
    assert Manifest(tmp_path / "v").rows[wanted(0).key].status == "ok"
    assert [cookie for _, what, cookie in tube.asked if what == "look"] == [None, "login=me"]


def test_cookies_that_are_none_are_one_clear_line_without_their_words(tmp_path, tube, capfd):
    with pytest.raises(UserError, match=r"no such file: .*none\.txt"):
        fetch(tube, tmp_path / "v", wanted(0), cookies=tmp_path / "none.txt")
    right = b"# Netscape HTTP Cookie File\n# comment\n\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tlogin\tme\n"
    for content, why in (
        (b"login=secret\n", "its first line is not"),
        (b'[{"name": "login", "value": "secret"}]', "its first line is not"),
        (b"", "its first line is not"),
        (b"127.0.0.1\tFALSE\t/\tFALSE\t0\tlogin\tsecret\n", "its first line is not"),
        (right + b"login=secret\n", "line 5 has not the seven fields"),
        (right + b"127.0.0.1\tFALSE\t/\tFALSE\tsecret\tlogin\tsecret\n", "line 5 has not the seven fields"),
        (right + b"secret\xff\n", "it is no text"),
    ):
        (tmp_path / "some.txt").write_bytes(content)
        with pytest.raises(UserError, match=rf"some\.txt is no cookies file in Netscape's format .*: {why}") as caught:
            fetch(tube, tmp_path / "v", wanted(0), cookies=tmp_path / "some.txt")
        assert "secret" not in str(caught.value) + "".join(capfd.readouterr())
    assert not tube.asked


KILLED = """
import sys
from pathlib import Path
from vidbench.data.fetch.gate import Gate
from vidbench.data.fetch.manifest import Manifest
from vidbench.data.fetch.wanted import Wanted
from vidbench.data.fetch.youtube import fetch_youtube
folder, base, *keys = sys.argv[1:]
with Gate(folder, Manifest(Path(folder))) as gate:
    clips = [Wanted.of(key, "") for key in keys]
    fetch_youtube(clips, Path(folder), gate, sleep=(0, 0), address=lambda name: base + name)
"""


def test_a_killed_download_leaves_no_clip_and_the_next_call_completes(tmp_path, tube):
    tube.flows.clear()
    clips = [wanted(0), wanted(1)]
    words = [sys.executable, "-c", KILLED, str(tmp_path / "v"), tube.base, *[clip.key for clip in clips]]
    with subprocess.Popen(words) as process:
        assert tube.stuck.wait(60)
        process.kill()
    assert process.returncode == -9
    assert not [name for name in seen(tmp_path / "v") if name.endswith(".mp4")]
    assert len(left(tmp_path / "v")) == 1
    tube.flows.set()
    fetch(tube, tmp_path / "v", *clips)
    assert [brightness(tmp_path / "v" / f"{clip.key}.mp4").size for clip in clips] == [40, 40]
    assert seen(tmp_path / "v") == [f"{clip.key}.mp4" for clip in clips] + ["manifest.csv"]
    assert not left(tmp_path / "v")


def test_a_full_disk_ends_it_cleanly(tmp_path, tube, monkeypatch):
    fetch(tube, tmp_path / "v", wanted(0))
    fake = tmp_path / "bin" / "ffmpeg"  # ends as ffmpeg does where nothing can be written
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *-encoders) echo libx264;; *-bsfs*) echo ffmpeg version 7;; *) exit 228;; esac\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(UserError, match=r"the disk of .* is full; what was fetched is kept"):
        fetch(tube, tmp_path / "v", *map(wanted, range(3)))
    assert set(Manifest(tmp_path / "v").rows) == {wanted(0).key} and not left(tmp_path / "v")


def test_what_is_missing_is_named(tmp_path, tube, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"imageio_ffmpeg is not here.*\[fetch\]"):
        fetch(tube, tmp_path / "v", wanted(0))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(UserError, match=r"yt_dlp is not here.*\[fetch\]"):
        fetch(tube, tmp_path / "v", wanted(0))
    monkeypatch.undo()
    with (
        FileLock(tmp_path / "v" / ".incoming" / "youtube.alone"),
        pytest.raises(UserError, match="another process fetches into"),
    ):
        fetch(tube, tmp_path / "v", wanted(0))


HINT = "Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
GONE = "ERROR: [youtube] 0wR5jVB-WPk: Video unavailable. "
SAID = {  # as yt-dlp and YouTube word them
    "private": [
        f"ERROR: [youtube] 0wR5jVB-WPk: Private video. Sign in if you've been granted access to this video. {HINT}",
        "ERROR: [youtube] 0wR5jVB-WPk: Join this channel to get access to members-only content like this video",
        "ERROR: [youtube] 0wR5jVB-WPk: This video requires payment to watch",
    ],
    "removed": [
        f"{GONE}This video has been removed by the uploader",
        f"{GONE}This video is no longer available because the YouTube account associated with this video has been "
        "terminated.",
        f"{GONE}This video is no longer available because the uploader has closed their YouTube account.",
        f"{GONE}This video has been removed for violating YouTube's policy on spam, deceptive practices, and scams",
        f"{GONE}This video is no longer available due to a copyright claim by Someone",
        f"{GONE}This video is not available",
        "ERROR: [youtube] 0wR5jVB-WPk: This video is unavailable",
        "ERROR: [youtube] 0wR5jVB-WPk: Video unavailable",
        "\x1b[0;31mERROR:\x1b[0m [youtube:truncated_id] 0wR5jVB-WP: Incomplete YouTube ID 0wR5jVB-WP.",
    ],
    "age": [
        "ERROR: [youtube] 0wR5jVB-WPk: Sign in to confirm your age. This video may be inappropriate for some users. "
        f"{HINT}",
    ],
    "bot check": [
        f"ERROR: [youtube] 0wR5jVB-WPk: Sign in to confirm you’re not a bot. {HINT}",
        f"ERROR: [youtube] 0wR5jVB-WPk: Sign in to confirm you're not a bot. {HINT}",
    ],
    "country": [
        f"{GONE}The uploader has not made this video available in your country\nThis video is available in Japan.",
        f"{GONE}This video contains content from SME, who has blocked it in your country on copyright grounds",
        "ERROR: This video is not available from your location due to geo restriction",
    ],
    "rate-limited": [
        f"{GONE}This content isn't available, try again later. The current session has been rate-limited by YouTube "
        "for up to an hour. It is recommended to use `-t sleep` to add a delay between video requests",
        "ERROR: [youtube] 0wR5jVB-WPk: Unable to download API page: HTTP Error 429: Too Many Requests",
    ],
    "format": [
        "ERROR: [youtube] 0wR5jVB-WPk: Requested format is not available. Use --list-formats for a list of available "
        "formats",
        "ERROR: unable to download video data: HTTP Error 403: Forbidden",
    ],
    "login": [f"ERROR: [youtube] 0wR5jVB-WPk: Please sign in. {HINT}"],
    "network": [
        "ERROR: [youtube] 0wR5jVB-WPk: Unable to download API page: [Errno -3] Temporary failure in name resolution "
        "(caused by TransportError('[Errno -3] Temporary failure in name resolution'))",
        "ERROR: [youtube] 0wR5jVB-WPk: Unable to download webpage: The read operation timed out",
        "ERROR: [youtube] 0wR5jVB-WPk: Unable to download webpage: HTTP Error 503: Service Unavailable",
        "ERROR: Unable to download webpage: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed",
        "ERROR: [generic] Unable to download webpage: [Errno 104] Connection reset by peer",
    ],
    "disk full": ["[Errno 28] No space left on device: 'clip.mp4.part'", "ERROR: ffmpeg exited with code 228"],
    "download": ["ERROR: ffmpeg exited with code 8"],
    "shortened": ["the video ends at 12 s, the clip begins at 20 s"],
    "other": ["ERROR: [youtube] 0wR5jVB-WPk: Premieres in 3 hours", "KeyError"],
}


@pytest.mark.parametrize("kind", [*KINDS, "other"])
def test_each_message_tells_its_kind(kind):
    assert {message: kind_of(message) for message in SAID[kind]} == dict.fromkeys(SAID[kind], kind)
