import cv2
import numpy as np
import pytest
from conftest import drawn_scene, write_video

from vidbench.data import doubles
from vidbench.data.decode import VideoInfo
from vidbench.data.doubles import Double, candidate_pairs, connected, find_doubles, overlap_of
from vidbench.data.looks import Looks, look
from vidbench.data.records import Video


def half_size(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1:3]
    return np.stack([cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for frame in frames])


def looks_with(hashes: np.ndarray, mirrored: np.ndarray | None = None, seconds_apart: float = 0.1) -> Looks:
    """Looks with these (F, 32) uint8 hashes."""
    number = len(hashes)
    other = np.random.default_rng(99).integers(0, 256, hashes.shape, np.uint8) if mirrored is None else mirrored
    none = np.zeros(number, bool)
    info = VideoInfo(number, 1 / seconds_apart, 64, 64, number * seconds_apart)
    return Looks(info, np.arange(number) * seconds_apart, hashes, other, none, none, 90)


def random_hashes(seed: int, number: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, 32), np.uint8)


def with_flips(hashes: np.ndarray, count: int) -> np.ndarray:
    """The hashes with the first `count` bits of each turned."""
    every = np.unpackbits(hashes, axis=1)
    every[:, :count] ^= 1
    return np.packbits(every, axis=1)


COPIES = {
    "re-encoded": lambda frames: half_size(frames),
    "mirrored": lambda frames: frames[:, :, ::-1],
    "without its first third": lambda frames: frames[15:],
    "without its last third": lambda frames: frames[:-15],
    "all three": lambda frames: half_size(frames[15:, :, ::-1]),
}


def test_copies_are_found_and_different_videos_are_not(tmp_path):
    videos = [Video(f"scene {n}", write_video(tmp_path / f"{n}.mkv", drawn_scene(n, 45), fps=30)) for n in range(12)]
    for number, (name, change) in enumerate(COPIES.items()):
        frames = np.ascontiguousarray(change(drawn_scene(number, 45)))
        file = write_video(tmp_path / f"copy{number}.mp4", frames, fps=30, codec="libx264", crf="32")
        videos.append(Video(name, file))
    (tmp_path / "exact.mkv").write_bytes((tmp_path / "7.mkv").read_bytes())
    videos.append(Video("exact", tmp_path / "exact.mkv"))
    found, crowded = find_doubles(videos, [look(video) for video in videos])
    assert crowded == 0 and all(pair.overlap >= 0.9 for pair in found)
    assert {(videos[pair.first].video_id, videos[pair.second].video_id): pair.kind for pair in found} == {
        ("scene 0", "re-encoded"): "near",
        ("scene 1", "mirrored"): "mirrored",
        ("scene 2", "without its first third"): "near",
        ("scene 3", "without its last third"): "near",
        ("scene 4", "all three"): "mirrored",
        ("scene 7", "exact"): "exact",
    }


def test_the_overlap_is_the_share_of_the_shorter_video():
    long = random_hashes(1, 30)
    for shift in (0, 7, 20):
        assert overlap_of(looks_with(long), looks_with(long[shift : shift + 10])) == 1.0
        assert overlap_of(looks_with(long[shift : shift + 10]), looks_with(long)) == 1.0
    late = np.concatenate([long[20:], random_hashes(2, 5)])  # 10 of its 15 frames are the other's
    assert overlap_of(looks_with(long), looks_with(late)) == pytest.approx(10 / 15)
    too_late = np.concatenate([long[24:], random_hashes(2, 9)])  # 6 of 15: less than half stand at the same time
    assert overlap_of(looks_with(long), looks_with(too_late)) == 0.0


def test_frames_match_up_to_so_many_bits_and_in_the_order_of_time():
    hashes = random_hashes(3, 20)
    assert overlap_of(looks_with(hashes), looks_with(with_flips(hashes, doubles.MATCH_BITS))) == 1.0
    assert overlap_of(looks_with(hashes), looks_with(with_flips(hashes, doubles.MATCH_BITS + 1))) == 0.0
    assert overlap_of(looks_with(hashes), looks_with(hashes[::-1].copy())) == 0.0
    assert overlap_of(looks_with(hashes), looks_with(random_hashes(5, 20), hashes), mirrored=True) == 1.0


def test_a_band_of_32_bits_in_common_makes_a_pair_of_candidates():
    first, second, third = random_hashes(6, 4), random_hashes(7, 4), random_hashes(8, 4)
    second[2, 8:12] = first[1, 8:12]
    mirrored = random_hashes(9, 4)
    mirrored[0, 28:] = first[3, 28:]
    pairs, crowded = candidate_pairs([looks_with(first), None, looks_with(second), looks_with(third, mirrored)])
    assert pairs == [(0, 2, False), (0, 3, True)] and crowded == 0
    second[2, 8:12] = second[2, 12:16]  # the same bits, elsewhere
    assert candidate_pairs([looks_with(first), looks_with(second)]) == ([], 0)


def test_what_a_crowd_has_in_common_is_skipped_and_counted(monkeypatch):
    monkeypatch.setattr(doubles, "CROWD", 3)
    title = random_hashes(0, 1)
    many = [looks_with(np.concatenate([title, random_hashes(n, 3)])) for n in range(1, 6)]
    assert candidate_pairs(many) == ([], 8)
    assert len(candidate_pairs(many[:3])[0]) == 3


def test_frames_of_one_colour_are_not_compared():
    hashes = random_hashes(1, 5)
    whole = looks_with(hashes)
    dark = Looks(whole.info, whole.times, hashes, hashes, np.ones(5, bool), np.zeros(5, bool), 0)
    assert candidate_pairs([dark, dark]) == ([], 0) and overlap_of(dark, dark) == overlap_of(dark, whole) == 0.0


def test_equal_files_are_exact_and_other_parts_of_them_are_not(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text("the same")
    videos = [Video(name, tmp_path / name) for name in "abc"]
    videos += [Video("d", tmp_path / "a", start_seconds=1.0), Video("e", tmp_path / "b", start_seconds=1.0)]
    found, _ = find_doubles(videos, [None] * 5)
    assert found == [Double(*pair, "exact", 1.0) for pair in ((0, 1), (0, 2), (1, 2), (3, 4))]


def test_many_equal_files_are_named_with_the_first(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02d}").write_text("the same")
    videos = [Video(str(n), tmp_path / f"{n:02d}") for n in range(30)]
    found, _ = find_doubles(videos, [None] * 30)
    assert [(pair.first, pair.second) for pair in found] == [(0, n) for n in range(1, 30)]


def test_connected_parts():
    assert connected(6, [(4, 5), (5, 2), (0, 1)]) == [0, 0, 2, 3, 2, 2]
    assert connected(3, []) == [0, 1, 2]
