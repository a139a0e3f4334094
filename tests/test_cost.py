from dataclasses import replace

import numpy as np

from vidbench.cost import dry_run, file_bytes
from vidbench.data.records import Video


def test_a_dry_run_says_what_a_run_would_cost_and_writes_nothing(settings):
    text = dry_run(settings)
    assert "listed     9 videos, 9 of them found" in text and "GFLOP" in text and "for those found" in text
    assert not settings.results_dir.exists()


def test_a_dry_run_of_videos_that_cannot_be_decoded_knows_no_time(settings):
    for path in (settings.data_dir / "val" / "red").iterdir():
        path.write_bytes(b"")
    text = dry_run(replace(settings, classes=("red",), cache=False))
    assert "time       not known" in text and "cache      none" in text


def test_arithmetic_is_counted_over_all_views(settings):
    # a matrix of 3 × 3 for each view: 2 · 9 operations, far below a tenth of a GFLOP
    assert "3 views of 4 frames, 0.0 GFLOP" in dry_run(replace(settings, views=(3, 1)))


def test_a_folder_of_frames_is_as_large_as_its_frames(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).write_bytes(bytes(np.zeros(700, np.uint8)))
    assert file_bytes(Video("x", tmp_path)) == 1400 and file_bytes(Video("y", tmp_path / "0.jpg")) == 700
