"""A few frames a second of real tiny videos: whole, damaged in the middle, cut off, and read on from anywhere."""

from pathlib import Path

import numpy as np
import pytest
from conftest import drawn_scene, moving_square, write_video

from vidbench.candidates.stream import Damage, Ended, Frame, decoded_from, sampled_frames
from vidbench.data.integrity import DecodeError

FPS, SECONDS = 10, 12


@pytest.fixture(scope="module")
def h264(tmp_path_factory) -> Path:
    """Twelve seconds at ten frames a second, a key frame every second."""
    frames = np.concatenate([drawn_scene(seed, 2 * FPS, 48, 64) for seed in range(SECONDS // 2)])
    options = {"g": str(FPS), "sc_threshold": "0", "bf": "0"}
    return write_video(tmp_path_factory.mktemp("video") / "whole.mp4", frames, FPS, codec="libx264", **options)


@pytest.fixture
def damaged(h264, tmp_path) -> Path:
    """The same, a tenth of its bytes overwritten in the middle."""
    data = bytearray(h264.read_bytes())
    first, last = int(0.45 * len(data)), int(0.55 * len(data))
    data[first:last] = np.random.default_rng(0).integers(0, 256, last - first, np.uint8).tobytes()
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    return path


def plain(items) -> list:
    return [item.seconds if isinstance(item, Frame) else item for item in items]


def test_the_first_frame_of_every_step_is_taken(tmp_path):
    frames = moving_square(12)  # 10 frames a second: 0.0, 0.1 … 1.1
    found = list(sampled_frames(write_video(tmp_path / "square.mkv", frames), 4))
    assert plain(found[:-1]) == pytest.approx([0, 0.3, 0.5, 0.8, 1.0])  # the first at or after 0, 0.25, 0.5, 0.75, 1
    for item, index in zip(found, (0, 3, 5, 8, 10), strict=False):
        np.testing.assert_array_equal(item.image, frames[index])
    assert found[-1].seconds == pytest.approx(1.2)


def test_more_frames_than_there_are_are_all_of_them_once(tmp_path):
    found = plain(sampled_frames(write_video(tmp_path / "square.mkv", moving_square(12)), 60))
    assert found[:-1] == pytest.approx([index / 10 for index in range(12)])


def test_a_damaged_stretch_is_named_and_the_rest_is_read(h264, damaged):
    found = plain(sampled_frames(damaged, 5))
    (stretch,) = [item for item in found if isinstance(item, Damage)]
    assert 4 < stretch.start < stretch.end < 9 and stretch.reason
    whole = plain(sampled_frames(h264, 5))
    inside = [item for item in whole[:-1] if stretch.start < item < stretch.end]
    times = [item for item in found if isinstance(item, float)]
    assert inside and times == [item for item in whole[:-1] if item not in inside]
    assert found.index(stretch) == len([item for item in times if item <= stretch.start])
    assert found[-1] == whole[-1] == Ended(pytest.approx(SECONDS))


def test_behind_damage_the_pictures_are_right(h264, damaged):
    whole = {item.seconds: item.image for item in sampled_frames(h264, 5) if isinstance(item, Frame)}
    for item in sampled_frames(damaged, 5):
        if isinstance(item, Frame):
            assert np.abs(item.image.astype(int) - whole[item.seconds]).mean() < 1


@pytest.mark.parametrize("place", (0, 7, 19, 25, 40))
def test_it_goes_on_from_any_frame_as_if_it_had_never_stopped(damaged, place):
    found = plain(sampled_frames(damaged, 5))
    after = [item for item in found if isinstance(item, float)][place]
    assert plain(sampled_frames(damaged, 5, after=after)) == found[found.index(after) + 1 :]


def test_going_on_behind_the_last_frame_finds_the_end(h264):
    assert list(sampled_frames(h264, 5, after=SECONDS - 0.2)) == [Ended(pytest.approx(SECONDS))]


def test_what_a_cut_off_file_lacks_is_named(tmp_path):
    frames = np.concatenate([drawn_scene(seed, 20, 48, 64) for seed in range(3)])
    path = write_video(tmp_path / "cut.mp4", frames, FPS, codec="libx264", movflags="+faststart", g="10")
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    *frames, stretch, end = sampled_frames(path, 5)
    assert (
        len(frames) > 5 and isinstance(stretch, Damage) and stretch.start == pytest.approx(frames[-1].seconds, abs=0.2)
    )
    assert stretch.end == end.seconds == pytest.approx(6)


def test_what_holds_no_frame_is_an_error(tmp_path, h264):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    zeros = bytearray(h264.read_bytes())
    begin, end = zeros.index(b"mdat") + 4, zeros.index(b"moov") - 4
    zeros[begin:end] = bytes(end - begin)
    (tmp_path / "zeros.mp4").write_bytes(zeros)
    for name, reason in (
        ("text", "not a readable video"),
        ("empty", "empty file"),
        ("gone", "missing"),
        ("zeros", "invalid data"),
    ):
        with pytest.raises(DecodeError, match=reason):
            list(sampled_frames(tmp_path / f"{name}.mp4", 4))


def test_decoding_from_the_middle_begins_at_the_key_frame_before(h264):
    seconds, _ = next(decoded_from(h264, 5.55))
    assert seconds == pytest.approx(5.0)
    with pytest.raises(DecodeError):  # that key frame lies before the damage
        next(decoded_from(h264, 5.55, behind=5.2))
