"""Where long videos come from: files, folders, a server on loopback through yt-dlp; and drawn ones."""

import functools
import http.server
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from colored import colored_video
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.candidates.sources import LongVideo, fetch_videos, id_of, is_address, list_videos, unique_ids
from vidbench.candidates.stream import Frame, sampled_frames
from vidbench.data.decode import probe
from vidbench.data.demo.long import (
    IDLE,
    STILLS,
    Part,
    draw_recordings,
    draw_shots,
    plan_parts,
    shot_frames,
    write_long_video,
)
from vidbench.utils import UserError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves a folder with one video, `walk.mp4`."""
    colored_video(tmp_path / "served" / "walk.mp4", 12, [("red", 3, 9)])
    handler = functools.partial(Quiet, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_an_address():
    addresses = ("https://example.org/v.mp4", "ytsearch5:flying a kite", "ytsearch:a", "ytsearchall:b")
    assert all(map(is_address, addresses)) and not any(map(is_address, ("v.mp4", "ytsearch5", "/https/x", "C:/v")))


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1), unique=True))
def test_ids_have_eleven_characters_and_are_different(names):
    ids = [id_of(Path("folder") / f"a{name}.mp4") for name in names]
    assert all(len(found) == 11 for found in ids) and len(set(ids)) == len(ids)
    assert all(found.isascii() and all(char.isalnum() or char in "_-" for char in found) for found in ids)


def test_folders_are_entered_and_pictures_and_tables_are_no_videos(tmp_path):
    for name in ("b/x.mp4", "a.avi", "a.jpg", "a.csv", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [video.path.name for video in list_videos(tmp_path)] == ["a.avi", "x.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no videos in"):
        list_videos(tmp_path / "empty")
    with pytest.raises(UserError, match="have the same name"):
        unique_ids([LongVideo("abcdefghijk", Path("a/abcdefghijk.mp4")), LongVideo("abcdefghijk", Path("b"))])


def test_an_address_is_fetched_once_and_scanned_from_the_disk(tmp_path, server):
    (video,) = fetch_videos(f"{server}/walk.mp4", tmp_path / "videos")
    assert video.path == tmp_path / "videos" / "walk.mp4" and len(video.youtube_id) == 11
    assert video.path.read_bytes() == (tmp_path / "served" / "walk.mp4").read_bytes()
    assert fetch_videos(f"{server}/walk.mp4", tmp_path / "videos") == [video]


def test_what_cannot_be_fetched_is_one_line(tmp_path, server):
    with pytest.raises(UserError, match=r"/gone\.mp4: nothing could be fetched: .*404") as caught:
        fetch_videos(f"{server}/gone.mp4", tmp_path / "videos")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"nothing could be fetched: .*(refused|resolve|Connection)"):
        fetch_videos("http://127.0.0.1:9/v.mp4", tmp_path / "videos")


# ------------------------------------------------------------------ drawn long videos


@given(st.integers(100, 900), st.integers(0, 9))
@settings(max_examples=30)
def test_drawn_parts_fill_the_time_with_idle_time_between(seconds, seed):
    parts = plan_parts(("waving", "star jumps"), seconds, np.random.default_rng(seed))
    assert parts[0].start == 0 and parts[-1].end == seconds
    assert all(before.end == after.start for before, after in pairwise(parts))
    assert all((part.action == IDLE) == (place % 2 == 0) for place, part in enumerate(parts))
    assert all(part.end - part.start >= 2 for part in parts)
    lengths = [part.end - part.start for part in parts if part.action != IDLE]
    assert min(lengths) >= 8 and max(lengths) <= 12 and len({part.action for part in parts}) == 3
    names = [part.action for part in parts]
    assert names.count("waving") == names.count("star jumps")


def test_a_long_video_is_as_long_as_its_parts(tmp_path):
    parts = [Part(IDLE, 0, 3), Part("waving", 3, 8)]
    write_long_video(tmp_path / "long.mp4", parts, 1, np.random.default_rng(0), fps=4)
    *frames, end = sampled_frames(tmp_path / "long.mp4", 4)
    assert len(frames) == 32 and all(isinstance(item, Frame) for item in frames) and end.seconds == pytest.approx(8)
    assert frames[0].image.shape == (192, 256, 3)
    still = [np.abs(after.image.astype(int) - before.image).mean() for before, after in pairwise(frames)]
    assert np.median(still[13:30]) > 0  # somebody moves


def test_recordings_and_shots_are_drawn_once_and_the_same_again(tmp_path):
    planned = {"lasts": (3, 4), "share": 0.4}
    first = draw_recordings(tmp_path / "a", ("waving", "star jumps"), [0, 1], 20, **planned)
    assert draw_recordings(tmp_path / "b", ("waving", "star jumps"), [1], 20, **planned) == {
        "recording1.mp4": first["recording1.mp4"]
    }
    assert list(first) == ["recording0.mp4", "recording1.mp4"] and first["recording0.mp4"][-1].end == 20
    files = [tmp_path / name / "recording1.mp4" for name in "ab"]
    shown = [[item.image for item in sampled_frames(file, 1) if isinstance(item, Frame)] for file in files]
    np.testing.assert_array_equal(*shown)
    files[0].write_bytes(b"kept")
    draw_recordings(tmp_path / "a", ("waving", "star jumps"), [0, 1], 20, **planned)
    assert files[0].read_bytes() == b"kept"
    draw_shots(tmp_path / "shots", ["waving", IDLE], [3], shots=2)
    names = sorted(path.relative_to(tmp_path / "shots").as_posix() for path in (tmp_path / "shots").glob("*/*"))
    assert names == ["idle/idle-3x000.mp4", "idle/idle-3x001.mp4", "waving/waving-3x000.mp4", "waving/waving-3x001.mp4"]
    assert all(probe(tmp_path / "shots" / name).num_frames == STILLS for name in names)


def test_standing_up_is_sitting_down_backwards_also_in_part():
    forwards = list(shot_frames("sitting down", 2, np.random.default_rng(4), step=6))
    backwards = list(shot_frames("standing up", 2, np.random.default_rng(4)))
    np.testing.assert_array_equal(forwards[0], backwards[-1])
    assert len(list(shot_frames(IDLE, 2, np.random.default_rng(4), number=3))) == 3
