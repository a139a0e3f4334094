import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import moving_square, write_video

from vidbench.arguments import EvaluateSettings
from vidbench.commands import as_argfile, parse_settings
from vidbench.data import cache, cache_limit, workers
from vidbench.data.load import Sample, VideoLoader
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.report import table
from vidbench.run import evaluate_run
from vidbench.utils import UserError

SMALL = Protocol(num_frames=4, resize="exact", resize_to=(24, 32), crop=None)
PIXELS = np.arange(4 * 24 * 32 * 3, dtype=np.uint8).reshape(4, 24, 32, 3)


def put(folder, name: str, max_bytes: int | None = None, used: int | None = None) -> int:
    """A cache file of that name, last used `used` seconds after 1970; returns what had to go."""
    path = cache.cache_path(folder, name)
    gone = cache.write_array(path, PIXELS, {}, max_bytes)
    if used is not None:
        os.utime(path, (used, used))
    return gone


def there(folder) -> list[str]:
    return sorted(path.stem for path in (folder / "clips").rglob("[!.]*.npy"))


@pytest.fixture
def size(tmp_path):
    """Bytes of one file that `put` makes."""
    put(tmp_path / "measured", "aa")
    return cache.cache_path(tmp_path / "measured", "aa").stat().st_size


def test_what_was_used_longest_ago_goes_first_and_a_hit_is_a_use(tmp_path, size):
    for used, name in enumerate(("aa", "bb", "cc"), start=1):
        put(tmp_path, name, used=used)
    assert cache.read_array(cache.cache_path(tmp_path, "aa")) is not None  # used now
    assert put(tmp_path, "dd", max_bytes=int(3.5 * size)) == size
    assert there(tmp_path) == ["aa", "cc", "dd"]


def test_a_look_without_verifying_is_no_use(tmp_path, size):
    put(tmp_path, "aa", used=1)
    cache.read_array(cache.cache_path(tmp_path, "aa"), verify=False)
    assert cache.cache_path(tmp_path, "aa").stat().st_mtime == 1


def test_the_cache_is_never_above_its_limit_after_a_file_was_added(tmp_path, size):
    limit, gone = 5 * size + size // 2, 0
    for number in range(30):
        gone += put(tmp_path, f"{number:02}", max_bytes=limit)
        assert len(there(tmp_path)) * size <= limit
    assert f"{29:02}" in there(tmp_path)
    assert gone == (30 - len(there(tmp_path))) * size


def test_the_folder_is_gone_through_rarely(tmp_path, size, monkeypatch):
    walks, walk = [], cache_limit._files
    monkeypatch.setattr(cache_limit, "_files", lambda folder: walks.append(folder) or walk(folder))
    limit = 40 * size
    cache.open_folder(tmp_path, limit)
    for number in range(80):
        put(tmp_path, f"{number:02}", max_bytes=limit)
    assert len(walks) == 1 + 8  # at the start, then when the 41st, 46th, … 76th comes: each time down to 36


def test_the_total_counts_what_others_wrote_without_one(tmp_path, size):
    cache.open_folder(tmp_path, 10 * size)
    for used, name in enumerate(("aa", "bb", "cc", "dd"), start=1):
        put(tmp_path, name, used=used)
    assert cache.open_folder(tmp_path, 3 * size) == 2 * size  # 2.7 of them may stay
    assert there(tmp_path) == ["cc", "dd"]


@pytest.mark.parametrize("total", ["", "12", "none bytes\n", None])
def test_a_total_that_a_killed_process_left_is_not_believed(tmp_path, size, total):
    for used, name in enumerate(("aa", "bb"), start=1):
        put(tmp_path, name, max_bytes=9 * size, used=used)
    (tmp_path / "size").unlink() if total is None else (tmp_path / "size").write_text(total)
    put(tmp_path, "cc", max_bytes=9 * size)
    assert (tmp_path / "size").read_text() == f"{3 * size} bytes\n"


def test_all_kinds_are_counted_and_other_files_left_alone(tmp_path, size):
    old = cache.cache_path(tmp_path, "aa", "looks")
    cache.write_array(old, PIXELS, {})
    os.utime(old, (1, 1))
    others = [tmp_path / "index.sqlite", tmp_path / "clips" / "aa" / ".bb.npy.0.part"]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(bytes(9 * size))
        os.utime(other, (time.time() - 60,) * 2)
    put(tmp_path, "cc", max_bytes=int(1.5 * size))
    assert not old.exists() and there(tmp_path) == ["cc"] and all(other.exists() for other in others)


def test_one_clip_larger_than_the_limit_is_refused_before_anything_goes(tmp_path, size):
    put(tmp_path, "aa")
    with pytest.raises(OSError, match=r"one clip takes 9.4 kB, the cache may take 9.4 kB"):
        put(tmp_path, "bb", max_bytes=size - 1)
    assert there(tmp_path) == ["aa"]
    put(tmp_path, "bb", max_bytes=size)
    assert there(tmp_path) == ["bb"]


def test_what_is_mapped_survives_its_removal(tmp_path, size):
    put(tmp_path, "aa", used=1)
    array, _ = cache.read_array(cache.cache_path(tmp_path, "aa"), verify=False)
    put(tmp_path, "bb", max_bytes=size)
    assert there(tmp_path) == ["bb"] and (array == PIXELS).all()


def fill(folder, first: int, count: int, limit: int) -> None:
    for number in range(first, first + count):
        put(folder, f"{number:04}", max_bytes=limit)


def test_several_processes_keep_one_limit(tmp_path, size):
    limit = 10 * size
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=fill, args=(tmp_path, 100 * n, 25, limit)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    names = there(tmp_path)
    assert 8 <= len(names) <= 10
    assert int((tmp_path / "size").read_text().split()[0]) >= len(names) * size  # never too low: it would grow
    assert all(cache.read_array(cache.cache_path(tmp_path, name)) for name in names)


def test_a_killed_writer_leaves_nothing_that_stops_the_next(tmp_path, size):
    limit = 10 * size
    writer = multiprocessing.get_context("spawn").Process(target=fill, args=(tmp_path, 0, 100_000, limit))
    writer.start()
    while not (tmp_path / "size").exists() or len(there(tmp_path)) < 5:
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    cache.open_folder(tmp_path, limit)
    for number in range(20):
        put(tmp_path, f"new{number:02}", max_bytes=limit)
    assert "new19" in there(tmp_path) and len(there(tmp_path)) <= 10


# ------------------------------------------------------------------ the loader, the run


@pytest.fixture
def videos(tmp_path):
    """Six videos of different content."""
    names = [write_video(tmp_path / f"{number}.mkv", moving_square(6 + number)) for number in range(6)]
    return [Video(path.stem, path) for path in names]


def clip_bytes(videos, tmp_path) -> int:
    """Of one cached clip at most; JSON of times and sizes makes them differ by some bytes."""
    list(VideoLoader(videos, SMALL, cache_dir=tmp_path / "whole"))
    return max(path.stat().st_size for path in (tmp_path / "whole" / "clips").rglob("*.npy"))


def test_a_limit_costs_no_sample_and_hits_are_counted(videos, tmp_path):
    limit = 4 * clip_bytes(videos, tmp_path) + 100
    loader = VideoLoader(videos, SMALL, cache_dir=tmp_path / "cache", cache_max_bytes=limit, workers=1, ahead=8)
    for _ in range(2):
        items = list(loader)
        assert all(isinstance(item, Sample) for item in items)
        for number, item in enumerate(items):
            frames = moving_square(6 + number)
            assert (item.views()[0] == frames[[(6 + number) * i // 4 for i in range(4)]]).all()
    counts = loader.cache_counts
    assert counts["hits"] == 0 and counts["misses"] == 12  # one pass after another: each goes before its turn comes
    assert counts["evicted_bytes"] > 0
    again = VideoLoader(videos[-2:], SMALL, cache_dir=tmp_path / "cache", cache_max_bytes=limit)
    list(again)
    assert again.cache_counts == {"hits": 2, "misses": 0, "evicted_bytes": 0}


def test_a_limit_below_one_clip_keeps_nothing_and_says_so(videos, tmp_path):
    loader = VideoLoader(videos[:2], SMALL, cache_dir=tmp_path / "cache", cache_max_bytes=500)
    assert all(isinstance(item, Sample) for item in loader)
    assert loader.cache_problem.endswith("cache: one clip takes 9.5 kB, the cache may take 500 bytes")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_clip_that_leaves_the_cache_before_its_turn_is_not_decoded_again(videos, tmp_path, monkeypatch):
    loader = VideoLoader(videos[:1], SMALL, cache_dir=tmp_path / "cache")
    with workers.worker_pool(1) as pool:
        future = loader._schedule(pool, videos[0], loader.cache_dir)
        done = future.result()
        done.cached.unlink()
        monkeypatch.setattr(loader, "_schedule", None)  # a second try would fail
        sample = loader._collect(pool, videos[0], future)
    assert (sample.views()[0] == moving_square(6)[[0, 1, 3, 4]]).all()


def test_the_report_says_what_came_out_of_the_cache(settings):
    first = evaluate_run(settings)
    assert first["timing"]["cache"] == {"hits": 0, "misses": 9, "evicted_bytes": 0}
    assert "out of the cache" not in table(first)
    again = evaluate_run(replace(settings, name="again"))
    assert again["timing"]["cache"] == {"hits": 9, "misses": 0, "evicted_bytes": 0}
    assert "videos/s, 9 of 9 out of the cache" in table(again)
    limited = evaluate_run(replace(settings, name="limited", cache_max_bytes=1500, num_videos=2))
    assert limited["timing"]["cache"]["evicted_bytes"] > 0 and "of older clips left it" in table(limited)


def test_counts_add_up_over_starts(settings):
    evaluate_run(replace(settings, num_videos=4))
    assert evaluate_run(settings)["timing"]["cache"] == {"hits": 0, "misses": 9, "evicted_bytes": 0}


def test_no_cache_counts_nothing(settings):
    report = evaluate_run(replace(settings, cache=False))
    assert report["timing"]["cache"] == {"hits": 0, "misses": 0, "evicted_bytes": 0}


def test_the_flag_takes_units_and_comes_back_from_an_argfile():
    for text, number in (("20GB", 20_000_000_000), ("500mb", 500_000_000), ("1.5G", 1_500_000_000), ("750", 750)):
        settings = parse_settings(EvaluateSettings, ["--cache-max-bytes", text])
        assert settings.cache_max_bytes == number and f"--cache-max-bytes={number}\n" in as_argfile(settings)
    for text in ("much", "0", "0.1", "-5G", "5X"):
        with pytest.raises(UserError, match=r"^--cache-max-bytes: wanted a number such as 500M or 2G, got"):
            parse_settings(EvaluateSettings, [f"--cache-max-bytes={text}"])
