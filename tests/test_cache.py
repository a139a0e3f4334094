import os

import numpy as np
import pytest
from conftest import moving_square, write_video

from vidbench.data import cache
from vidbench.data.decode import VideoInfo, decode
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video


@pytest.fixture
def clip(square_video):
    return decode(square_video[0], Protocol(num_frames=16).indices)


def test_a_clip_comes_back_as_it_was(tmp_path, clip):
    cache.write_clip(tmp_path / "c.npy", clip)
    got = cache.read_clip(tmp_path / "c.npy")
    assert isinstance(got.frames, np.memmap) and (got.frames == clip.frames).all()
    assert (got.times == clip.times).all() and (got.indices == clip.indices).all()
    assert got.info == clip.info and got.repeated == clip.repeated is True


def test_frames_are_kept_once_and_little_else(tmp_path, clip):
    cache.write_clip(tmp_path / "c.npy", clip)
    assert len(clip.frames) == 12  # 16 positions, 12 different frames
    assert (tmp_path / "c.npy").stat().st_size < clip.frames.nbytes + 1500


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "footer", "foreign"])
def test_a_damaged_file_is_treated_as_absent(tmp_path, clip, damage):
    path = tmp_path / "c.npy"
    cache.write_clip(path, clip)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[500] ^= 1
    elif damage == "footer":
        data[-20] ^= 255
    path.write_bytes({"cut": data[:-100], "empty": b"", "foreign": b"x" * 4000}.get(damage, bytes(data)))
    assert cache.read_clip(path) is None
    assert cache.read_clip(tmp_path / "absent.npy") is None


def test_the_key_covers_content_part_and_every_parameter_that_changes_a_pixel(tmp_path, square_video):
    path, _ = square_video
    base = Video("a", path)
    protocol = Protocol(num_frames=8)

    def key(video=base, using=protocol, fps=25.0):
        return cache.cache_key(video, using, fps, tmp_path)

    other = write_video(tmp_path / "other.mkv", moving_square(11))
    keys = {
        key(),
        key(video=Video("a", other)),
        key(video=Video("a", path, start_seconds=0.2)),
        key(video=Video("a", path, end_seconds=0.5)),
        *(key(using=protocol.override(**change)) for change in (
            {"num_frames": 9}, {"frame_rate": 5.0}, {"views": (2, 1)}, {"views": (1, 3)}, {"resize_type": "pad"},
        )),
    }  # fmt: skip
    assert len(keys) == 9
    assert key(video=Video("another id", path)) == key()


def test_a_file_that_is_replaced_has_another_identity_even_with_the_same_size_and_time(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"aaaa")
    os.utime(path, ns=(1, 1))
    before = cache.identity(path, tmp_path)
    assert cache.identity(path, tmp_path) == before
    path.unlink()
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(1, 1))
    assert cache.identity(path, tmp_path) != before


def test_frames_of_a_folder_are_its_identity(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "1.jpg").write_bytes(b"a")
    before = cache.identity(tmp_path / "f", tmp_path)
    (tmp_path / "f" / "2.jpg").write_bytes(b"b")
    assert cache.identity(tmp_path / "f", tmp_path) != before


def test_the_index_remembers_until_the_file_changes(tmp_path, square_video):
    path, _ = square_video
    index = cache.Index(tmp_path / "cache")
    index.remember(path, [1, 2], "ab" * 32)
    index.remember_info(path, VideoInfo(12, 10.0, 32, 24, 1.2))
    assert index.lookup(path, [1, 2]) == "ab" * 32 and index.lookup(path, [1, 3]) is None
    assert index.info(path) == VideoInfo(12, 10.0, 32, 24, 1.2)
    index.remember(path, [9, 9], "cd" * 32)
    assert index.info(path) is None


def test_an_index_out_of_use_costs_no_result(tmp_path, square_video):
    (tmp_path / "index.sqlite").write_bytes(b"no data base, and long enough to be looked at as one" * 30)
    assert len(cache.identity(square_video[0], tmp_path)) == 64


def test_what_killed_writers_left_is_swept_after_a_day(tmp_path):
    folder = tmp_path / "clips" / "ab"
    folder.mkdir(parents=True)
    for name in ("old", "new"):
        (folder / f".{name}.npy.0.part").touch()
    os.utime(folder / ".old.npy.0.part", (1, 1))
    cache.open_folder(tmp_path)
    assert [path.name for path in folder.iterdir()] == [".new.npy.0.part"]
