import logging
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import moving_square, write_video

from vidbench.data import workers
from vidbench.data.cache import Index, cache_key, cache_path
from vidbench.data.load import Failure, KineticsLoader, Sample, VideoLoader, reorder_views
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.utils import UserError

SMALL = Protocol(num_frames=4, resize="exact", resize_to=(24, 32), crop=None)


@pytest.fixture
def videos(tmp_path):
    """Five videos: whole, missing, empty, whole and longer, none at all."""
    (tmp_path / "empty.mp4").write_bytes(b"")
    return [
        Video("a", write_video(tmp_path / "a.mkv", moving_square(8))),
        Video("b", tmp_path / "gone.mp4"),
        Video("c", tmp_path / "empty.mp4"),
        Video("d", write_video(tmp_path / "d.mkv", moving_square(12))),
        Video("e", None),
    ]


def outcome(item):
    return item.video.video_id, item.reason if isinstance(item, Failure) else "ok"


def test_every_video_comes_out_in_order_as_a_sample_or_a_failure(videos):
    items = list(VideoLoader(videos, SMALL, workers=2))
    assert [outcome(item) for item in items] == [
        ("a", "ok"), ("b", "missing file"), ("c", "empty file"), ("d", "ok"), ("e", "missing file"),
    ]  # fmt: skip
    assert [item.stage for item in items if isinstance(item, Failure)] == ["find", "open", "find"]
    assert (items[0].views()[0] == moving_square(8)[[0, 2, 4, 6]]).all()
    assert (items[3].views()[0] == moving_square(12)[[0, 3, 6, 9]]).all()
    assert items[3].clip().times.tolist() == pytest.approx([0, 0.3, 0.6, 0.9])


def test_the_second_run_decodes_nothing(videos, tmp_path, monkeypatch):
    once = [item for item in VideoLoader(videos, SMALL, cache_dir=tmp_path / "cache") if isinstance(item, Sample)]
    files = sorted((tmp_path / "cache" / "clips").rglob("*.npy"))
    written = [file.stat().st_ino for file in files]
    monkeypatch.setattr(workers, "_decode", None)  # in this process: a call would fail
    for video, first in zip((videos[0], videos[3]), once, strict=True):
        done = workers.load_clip(workers.Task(video, SMALL, cache_dir=(tmp_path / "cache").resolve()))
        assert done.clip is None and (np.load(done.cached, mmap_mode="r") == first.decoded.frames).all()
    again = [item for item in VideoLoader(videos, SMALL, cache_dir=tmp_path / "cache") if isinstance(item, Sample)]
    assert all((a.views() == b.views()).all() for a, b in zip(once, again, strict=True))
    assert [file.stat().st_ino for file in files] == written and len(files) == 2
    assert Index(tmp_path / "cache").info(videos[3].path).num_frames == 12


def test_a_damaged_cache_file_is_rebuilt_and_overwriting_decodes_anew(videos, tmp_path):
    cache_dir = (tmp_path / "cache").resolve()
    list(VideoLoader(videos[:1], SMALL, cache_dir=cache_dir))
    path = cache_path(cache_dir, cache_key(videos[0], SMALL, 25.0, cache_dir))
    path.write_bytes(path.read_bytes()[:300])
    (again,) = VideoLoader(videos[:1], SMALL, cache_dir=cache_dir)
    assert (again.views()[0] == moving_square(8)[[0, 2, 4, 6]]).all()
    before = path.stat().st_mtime_ns
    list(VideoLoader(videos[:1], SMALL, cache_dir=cache_dir, overwrite_cache=True))
    assert path.stat().st_mtime_ns > before


def test_a_cache_without_room_costs_no_result(videos, tmp_path, caplog):
    (tmp_path / "full").write_text("a file where the cache folder should be: nothing can be written below it")
    with caplog.at_level(logging.WARNING):
        items = list(VideoLoader(videos, SMALL, cache_dir=tmp_path / "full"))
    assert [outcome(item)[1] for item in items].count("ok") == 2
    assert len([line for line in caplog.messages if "are not cached" in line]) == 1


def test_a_decoder_that_hangs_or_dies_costs_one_video(videos):
    loader = VideoLoader(videos, SMALL, decode_timeout=0.5)
    with workers.worker_pool(1) as pool:
        hanging = pool.schedule(time.sleep, args=(600,), timeout=loader.decode_timeout)
        dying = pool.schedule(os._exit, args=(9,))
        fine = loader._schedule(pool, videos[0], None)
        assert loader._collect(pool, videos[1], hanging).reason == "timeout: not decoded within 0.5 s"
        assert loader._collect(pool, videos[1], dying).reason == "the decoder crashed (exit code 9)"
        assert isinstance(loader._collect(pool, videos[0], fine), Sample)


def test_one_video_is_read_by_a_pool_that_goes_on(videos):
    loader = VideoLoader([], SMALL)
    with workers.worker_pool(1) as pool:
        outcomes = [outcome(loader.load(pool, video)) for video in videos]
    assert outcomes == [outcome(item) for item in VideoLoader(videos, SMALL)] and loader.peak_worker_memory_mb > 0


def test_pipes_and_devices_are_no_videos(tmp_path):
    os.mkfifo(tmp_path / "pipe.mkv")
    (failure,) = VideoLoader([Video("pipe", tmp_path / "pipe.mkv")], SMALL)
    assert (failure.stage, failure.reason) == ("open", "not a regular file")


def test_workers_know_neither_tensorflow_nor_the_callers_script():
    with workers.worker_pool(1) as pool:
        code = "sorted(n for n in ('tensorflow', 'keras', 'conftest', 'pytest') if n in __import__('sys').modules)"
        assert pool.schedule(eval, args=(code,)).result() == []


def test_the_loader_reads_only_so_far_ahead(videos, monkeypatch):
    asked = []
    loader = VideoLoader([replace(videos[0], video_id=str(n)) for n in range(30)], SMALL, workers=1, ahead=4)
    schedule = loader._schedule
    monkeypatch.setattr(
        loader, "_schedule", lambda pool, video, *where: asked.append(video) or schedule(pool, video, *where)
    )
    stream = iter(loader)
    next(stream)
    assert len(asked) == 5
    stream.close()


def test_three_crops_and_several_clips_make_views(videos):
    protocol = Protocol(num_frames=2, clips=2, crops=3, resize="short_side", resize_to=(24, 24), crop=(24, 24))
    (sample,) = VideoLoader(videos[:1], protocol)
    assert sample.views().shape == (6, 2, 24, 24, 3)
    assert (sample.views()[2] == moving_square(8)[[0, 4], :, 8:]).all()  # first clip, right crop


def test_other_orders_are_seeded_by_the_video():
    views = np.arange(16, dtype=np.uint8).reshape(1, 16, 1, 1, 1).repeat(3, axis=-1)
    shuffled = reorder_views(views, "a", "shuffled", None, 0)
    assert (shuffled == reorder_views(views, "a", "shuffled", None, 0)).all()
    assert (shuffled != reorder_views(views, "b", "shuffled", None, 0)).any()
    assert reorder_views(views, "a", "reversed", 2, 0)[0, :, 0, 0, 0].tolist() == [15] * 8 + [7] * 8


@pytest.fixture
def kinetics(tmp_path):
    root = tmp_path / "val"
    rows = ["label,youtube_id,time_start,time_end,split"]
    for number in range(3):
        key = f"abcdefghij{number}"
        write_video(root / f"{key}_000001_000011.mp4", moving_square(12), codec="libx264", crf="18")
        rows.append(f"abseiling,{key},1,11,val")
    (root / "abcdefghij9_000001_000011.mp4").write_bytes(b"")
    (root / "val.csv").write_text("\n".join([*rows, "zumba,abcdefghij9,1,11,val\n"]))
    return KineticsLoader("400", "val", data_dir=root, cache_dir=tmp_path / "cache")


def test_the_prototypes_loader(kinetics):
    assert kinetics.load_and_cache_video_examples(4, num_frames=6) == 3
    batches = list(kinetics.get_batches(4, batch_size=2, num_frames=6))
    assert [frames.shape for frames, _, _ in batches] == [(2, 6, 224, 224, 3), (1, 6, 224, 224, 3)]
    assert batches[0][0].dtype == np.uint8 and batches[0][1] == ["abseiling", "abseiling"]
    ids = [key for _, _, keys in batches for key in keys]
    assert sorted(ids) == ["abcdefghij0", "abcdefghij1", "abcdefghij2"]
    assert {failure.reason for failure in kinetics.failures} == {"empty file"}
    with pytest.raises(UserError, match=r"4 videos lie in .*, 9 are wanted: call download_n_videos\(9\) first"):
        next(kinetics.get_batches(9))


def test_the_prototypes_resize_types(kinetics):
    kinetics.load_and_cache_video_examples(4, resize_type="pad", num_frames=4)
    padded, _, _ = next(kinetics.get_batches(4, 4, 4))
    assert not padded[:, :, :20].any() and padded[:, :, 112].any()  # 32 × 24 in a square: bars above and below
    kinetics.load_and_cache_video_examples(4, resize_type="crop", num_frames=4)
    assert next(kinetics.get_batches(4, 4, 4))[0][:, :, :20].any()


def test_a_cache_that_is_emptied_during_a_run_costs_no_video(videos, tmp_path):
    loader = VideoLoader(videos[:1], SMALL, cache_dir=tmp_path / "cache")
    with workers.worker_pool(1) as pool:
        future = loader._schedule(pool, videos[0], loader.cache_dir)
        future.result()
        shutil.rmtree(tmp_path / "cache")
        sample = loader._collect(pool, videos[0], future)
    assert (sample.views()[0] == moving_square(8)[[0, 2, 4, 6]]).all()


def in_memory(folder) -> int:
    """How many loaders have a folder there."""
    return sum(path.is_dir() for path in (folder / f"vidbench-{os.getuid()}" / ".incoming").iterdir())


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A folder that stands for the one in memory."""
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(workers, "IN_MEMORY", tmp_path / "memory")
    return tmp_path / "memory"


def test_a_clip_that_is_not_cached_comes_as_a_file_in_memory(videos, memory):
    stream = iter(VideoLoader([videos[0], videos[3]] * 3, SMALL, workers=2))
    first = next(stream)
    assert isinstance(first.decoded.frames, np.memmap) and in_memory(memory) == 1
    rest = list(stream)
    assert in_memory(memory) == 0
    for item, length in zip([first, *rest], (8, 12) * 3, strict=True):  # the files are gone, the frames are not
        assert (item.views()[0] == moving_square(length)[np.arange(4) * length // 4]).all()


@pytest.mark.parametrize("lack", ["no such folder", "may not be written"])
def test_without_room_in_memory_clips_come_through_the_pipe(videos, tmp_path, monkeypatch, lack):
    (tmp_path / "may not be written").touch()
    monkeypatch.setattr(workers, "IN_MEMORY", tmp_path / lack)
    items = list(VideoLoader(videos, SMALL, workers=1))
    assert [outcome(item)[1] for item in items].count("ok") == 2
    assert (items[0].views()[0] == moving_square(8)[[0, 2, 4, 6]]).all()


def test_a_full_memory_leaves_the_clip_as_it_is(videos, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workers.cache, "write_clip", full)
    done = workers.load_clip(workers.Task(videos[0], SMALL, handover=tmp_path))
    assert done.passed is None and (done.clip.frames == moving_square(8)[[0, 2, 4, 6]]).all()


def test_what_a_stopped_loader_had_in_memory_goes_with_it(videos, memory):
    stream = iter(VideoLoader([videos[3]] * 12, SMALL, workers=1, ahead=4))
    next(stream)
    stream.close()
    assert in_memory(memory) == 0


def test_large_clips_are_decoded_less_far_ahead():
    views = Protocol(num_frames=32, clips=10, crops=3, resize="short_side", resize_to=(256, 256), crop=(256, 256))
    assert views.most_bytes == 10 * 32 * 256 * 455 * 3
    assert VideoLoader([], views, workers=64, ahead=72).ahead == 2_000_000_000 // views.most_bytes == 17
    assert VideoLoader([], SMALL, workers=64, ahead=72).ahead == 72
    assert VideoLoader([], replace(views, num_frames=5000), workers=64).ahead == 2
