import cv2
import numpy as np
import pytest
from conftest import solid

from vidbench.data.decode import decode, probe
from vidbench.data.images import frame_files
from vidbench.data.integrity import DecodeError


def everything(num_frames, fps):
    return np.arange(num_frames)[None]


def test_folders_of_frames_in_natural_order(tmp_path):
    for index in range(11):
        cv2.imwrite(str(tmp_path / f"frame{index}.png"), solid((index * 10, 0, 0), 1)[0][..., ::-1])
    got = decode(tmp_path, everything, frames_fps=5.0)
    assert got.frames[:, 0, 0, 0].tolist() == list(range(0, 110, 10))
    assert got.times[-1] == pytest.approx(2.0) and got.info.fps == 5.0


def test_hidden_files_are_no_frames(tmp_path):
    for name in ("0.png", "._0.png", "1.png"):
        cv2.imwrite(str(tmp_path / name), solid((9, 9, 9), 1)[0])
    assert probe(tmp_path).num_frames == 2
    (tmp_path / "none").mkdir()
    with pytest.raises(DecodeError, match="holds no JPEG or PNG"):
        probe(tmp_path / "none")


@pytest.mark.parametrize("data", [b"", b"no image"])
def test_a_damaged_frame_is_named(tmp_path, data):
    for name in ("0.png", "1.png"):
        cv2.imwrite(str(tmp_path / name), solid((9, 9, 9), 1)[0])
    (tmp_path / "1.png").write_bytes(data)
    with pytest.raises(DecodeError, match=r"corrupt after frame 1: 1\.png is no readable image"):
        decode(tmp_path, everything)


def test_names_of_frames_sort_by_their_numbers(tmp_path):
    for name in ("f10.jpg", "f9.JPEG", "²f.png", "f9b.png", "x.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in frame_files(tmp_path)] == ["f9.JPEG", "f9b.png", "f10.jpg", "²f.png"]
