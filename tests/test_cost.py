import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidbench.cost import cost_table, dry_run, file_bytes
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


def test_what_nodes_would_cost_is_clips_times_seconds():
    # 19,881 × 0.5 s = 9,940.5 s = 2.76 h, over 8 nodes 1,242.6 s; 241,258 × 0.5 s = 120,629 s = 33.5 h
    head, _, val, train = cost_table(0.5, nodes=(1, 8)).splitlines()
    assert head == "| Kinetics-400, computed | clips | 1 node | 8 nodes | node-hours |"
    assert val == "| val | 19,881 | 2.8 hours | 20.7 minutes | 2.8 |"
    assert train == "| train | 241,258 | 33.5 hours | 4.2 hours | 33.5 |"


def test_the_readme_s_table_is_computed_from_the_seconds_that_it_names():
    page = (Path(__file__).parents[1] / "README.md").read_text()
    (seconds,) = re.findall(r"cost_table\(([\d.]+)\)", page)
    assert cost_table(float(seconds)) in page


def test_a_folder_of_frames_is_as_large_as_its_frames(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).write_bytes(bytes(np.zeros(700, np.uint8)))
    assert file_bytes(Video("x", tmp_path)) == 1400 and file_bytes(Video("y", tmp_path / "0.jpg")) == 700
