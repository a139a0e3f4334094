import av
import numpy as np
import pytest
from conftest import moving_square, write_video

from vidbench.data.decode import decode
from vidbench.data.integrity import DecodeError, check_file, missing_bytes


def test_a_file_cut_between_two_packets_is_noticed(tmp_path):
    path = write_video(tmp_path / "x.mkv", moving_square(40), fps=10)
    with av.open(str(path)) as box:
        ends = [packet.pos for packet in box.demux(box.streams.video[0]) if packet.pos]
    path.write_bytes(path.read_bytes()[: ends[-3]])
    with pytest.raises(DecodeError, match="the file is cut off"):
        decode(path, lambda num_frames, fps: np.arange(num_frames)[None])


def test_whole_files_lack_nothing(square_video):
    with av.open(str(square_video[0])) as box:
        assert missing_bytes(square_video[0], box.streams.video[0]) == 0


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
def test_what_is_missing_is_counted_where_the_container_tells(tmp_path, suffix):
    options = {"movflags": "faststart"} if suffix in ("mp4", "mov") else {}
    path = write_video(tmp_path / f"x.{suffix}", moving_square(40, 64, 64), codec="libx264", crf="5", **options)
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        assert missing_bytes(path, stream) == 0
        if suffix != "avi":  # its index stands at the end
            path.write_bytes(path.read_bytes()[:-700])
            assert 600 < missing_bytes(path, stream) <= 700


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty").touch()
    for name, reason in (("gone", "missing file"), ("empty", "empty file"), (".", "not a regular file")):
        with pytest.raises(DecodeError, match=reason):
            check_file(tmp_path / name)
    with pytest.raises(DecodeError, match="unreadable file: Not a directory"):
        check_file(tmp_path / "empty" / "x")
