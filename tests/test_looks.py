import os
import time

import numpy as np
import pytest
from conftest import drawn_scene, solid, write_video
from hypothesis import given
from hypothesis import strategies as st

from vidbench.data import looks
from vidbench.data.integrity import DecodeError
from vidbench.data.load import Failure
from vidbench.data.looks import chosen_frames, look, look_cached, looks_of
from vidbench.data.records import Video
from vidbench.data.workers import worker_pool


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other).sum())


@given(st.integers(1, 5000), st.floats(0.5, 240))
def test_the_chosen_frames_are_different_sorted_inside_and_at_most_sixteen_a_second(num_frames, fps):
    (chosen,) = chosen_frames(num_frames, fps)
    assert 1 <= len(chosen) <= min(looks.MOST_FRAMES, num_frames, max(1, round(16 * num_frames / fps)))
    assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < num_frames


def test_what_a_video_looks_like(tmp_path):
    seen = look(Video("a", write_video(tmp_path / "a.mkv", drawn_scene(1, 30), fps=30)))
    assert (seen.info.num_frames, seen.info.fps, seen.info.width, seen.info.height) == (30, 30, 128, 96)
    assert seen.hashes.shape == seen.mirrored.shape == (16, 32) and seen.telling.all() and seen.change > 100
    assert seen.times[0] == 0 and np.allclose(np.diff(seen.times), 1 / 16, atol=1 / 30)


def test_the_hashes_are_those_of_imagehash_and_mirroring_swaps_them(tmp_path):
    import imagehash
    from PIL import Image

    frames = drawn_scene(2, 4, height=64, width=64)
    seen = look(Video("a", write_video(tmp_path / "a.mkv", frames, fps=4)))
    turned = look(Video("b", write_video(tmp_path / "b.mkv", frames[:, :, ::-1], fps=4)))
    theirs = np.packbits(imagehash.phash(Image.fromarray(frames[0]), hash_size=16).hash.ravel())
    assert bits(seen.hashes[0], theirs) <= 2  # grey levels may be rounded in another way
    assert (seen.hashes == turned.mirrored).all() and (seen.mirrored == turned.hashes).all()
    assert bits(seen.hashes[0], seen.mirrored[0]) > 60


def test_black_plain_and_still_frames(tmp_path):
    black, blue = solid((3, 3, 3), height=48, width=64), solid((0, 40, 250), height=48, width=64)
    still = np.repeat(drawn_scene(3, 1), 20, axis=0)
    facts = {}
    for name, frames in (("black", black), ("blue", blue), ("still", still)):
        seen = look(Video(name, write_video(tmp_path / f"{name}.mkv", frames, fps=10)))
        facts[name] = bool(seen.black.all()), bool(seen.plain.all()), bool(seen.telling.any()), seen.change
    assert facts == {
        "black": (True, True, False, 0),
        "blue": (False, True, False, 0),
        "still": (False, False, True, 0),
    }


def test_a_part_of_a_file_and_a_folder_of_frames(tmp_path):
    import cv2

    frames = drawn_scene(4, 20)
    file = write_video(tmp_path / "a.mkv", frames, fps=10)
    part = look(Video("a", file, start_seconds=0.5, end_seconds=1.0))
    assert part.info.num_frames == 5 and (part.hashes == look(Video("a", file)).hashes[5:10]).all()
    (tmp_path / "b").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "b" / f"{number}.png"), frame[:, :, ::-1])
    seen = look(Video("b", tmp_path / "b"), frames_fps=10)
    assert seen.info.fps == 10 and (seen.hashes == look(Video("a", file)).hashes).all()


def test_one_bad_video_is_a_failure_and_the_others_are_looked_at(tmp_path):
    good = write_video(tmp_path / "good.mkv", drawn_scene(5, 8))
    (tmp_path / "bad.mkv").write_text("no video")
    videos = [Video("bad", tmp_path / "bad.mkv"), Video("good", good), Video("gone", None), Video("more", good)]
    seen = list(looks_of(videos, workers=1))
    assert [isinstance(found, Failure) for found in seen] == [True, False, True, False]
    assert seen[0].stage == "open" and seen[2].reason == "missing file" and seen[1].info == seen[3].info
    with pytest.raises(DecodeError):
        look(videos[0])


def test_a_decoder_that_hangs_or_dies_is_a_failure(tmp_path):
    video = Video("a", tmp_path / "a.mkv")
    pool = worker_pool(1)
    try:
        hanging = pool.schedule(time.sleep, args=(600,), timeout=0.5)
        assert looks._collected(video, hanging, 0.5)[0].reason == "timeout: not decoded within 0.5 s"
        dying = pool.schedule(os._exit, args=(9,))
        assert looks._collected(video, dying, 0.5)[0].reason == "the decoder crashed (exit code 9)"
    finally:
        pool.stop()
        pool.join()


def test_looks_are_kept_and_a_damaged_or_changed_file_is_looked_at_anew(tmp_path, monkeypatch):
    file = write_video(tmp_path / "a.mkv", drawn_scene(6, 10))
    cache = tmp_path / "cache"
    first, problem = look_cached(Video("a", file), cache_dir=cache)
    (kept,) = cache.glob("looks/*/*.npy")
    assert problem is None

    def refuse(*words):
        raise AssertionError("decoded again")

    monkeypatch.setattr(looks, "look", refuse)
    again, _ = look_cached(Video("another name", file), cache_dir=cache)
    for name in ("times", "hashes", "mirrored", "black", "plain"):
        assert (getattr(again, name) == getattr(first, name)).all(), name
    assert again.info == first.info and again.change == first.change
    monkeypatch.undo()
    kept.write_bytes(kept.read_bytes()[:-40])
    assert (look_cached(Video("a", file), cache_dir=cache)[0].hashes == first.hashes).all()
    write_video(file, drawn_scene(7, 10))
    assert (look_cached(Video("a", file), cache_dir=cache)[0].hashes != first.hashes).any()


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file stands here")
    videos = [Video(str(n), write_video(tmp_path / f"{n}.mkv", drawn_scene(n, 4))) for n in range(2)]
    seen = list(looks_of(videos, cache_dir=tmp_path / "cache", workers=1))
    assert [found.info.num_frames for found in seen] == [4, 4]
    assert caplog.text.count("what videos look like is not cached") == 1
