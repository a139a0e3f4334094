import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import drawn_scene, moving_square, solid, write_video

from vidbench.benchmark import frontier
from vidbench.benchmark.pipeline import link_clips
from vidbench.benchmark.prototype import prototype_run
from vidbench.benchmark.timing import run_script
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]


def benchmark(*words):
    return subprocess.run([sys.executable, "scripts/benchmark.py", *words], cwd=ROOT, capture_output=True, text=True)


def test_the_pipeline_in_every_precision_beside_the_prototype_s_way(tmp_path):
    clips = [write_video(tmp_path / f"{n}.mp4", moving_square(24, 96, 128), codec="libx264") for n in range(3)]
    words = ["pipeline", "--model", "tiny2plus1d", "--num-frames", "8", "--rounds", "1", "--copies", "1"]
    (tmp_path / "others").mkdir()
    write_video(tmp_path / "others" / "a.mp4", drawn_scene(3, 24), codec="libx264")
    done = benchmark(*words, "--calibration-dir", str(tmp_path / "others"), *map(str, clips))
    assert done.returncode == 0, done.stderr
    for text in (
        "| decode, all workers |",
        "| model, bfloat16, tensorflow |",
        "| files to report, int8, openvino |",
        "| the prototype's way, float32 |",
        "- float32, openvino: the likeliest class is float32's on 100.0% of 3 clips",
        "3 clips a round",
    ):
        assert text in done.stdout
    assert "cache: 0.30 MB a clip" in done.stdout  # 8 frames of 96 × 128 × 3 bytes
    assert "cache: 14.45 MB a clip" in done.stdout  # 24 frames of 224 × 224 × 3 × 4 bytes


def test_the_prototype_s_way_by_hand(tmp_path):
    clips = [write_video(tmp_path / f"{n}.mkv", solid((0, 51 * n, 255), 5, 32, 48)) for n in (1, 2, 4)]
    seen = []

    def network(frames):
        seen.append(frames.shape)
        return frames.mean(axis=(1, 2, 3))

    logits = prototype_run(clips, network, 4, tmp_path)
    np.testing.assert_allclose(logits, [[0, 0.2, 1], [0, 0.4, 1], [0, 0.8, 1]], atol=0.01)
    assert seen == [(3, 4, 224, 224, 3)]


def test_every_runtime_and_precision_on_the_same_clips(tmp_path):
    words = ["frontier", "--num-videos", "6", "--frames", "8,16", "--rounds", "1", "--calibration-clips", "4"]
    words += ["--cache-dir", str(tmp_path / "cache"), "--figure", str(tmp_path / "f.png")]
    done = benchmark(*words)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| 8 ", "| 16 "))]
    assert [row[1:3] for row in rows[:7]] == [row[1:3] for row in rows[7:]] and len(rows) == 14
    assert rows[0][1:3] == ["tensorflow", "float32"] and rows[0][9:] == ["100.0%", "0 of the spread |"]
    assert {"int8", "bfloat16"} <= {row[2] for row in rows}
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_words_that_no_part_knows_are_refused():
    done = benchmark("models", "--precision", "int8")
    assert done.returncode == 2 and "unrecognized arguments: --precision" in done.stderr
    done = benchmark("frontier", "--precision", "half")
    assert done.returncode == 1 and done.stderr.startswith("error: --precision must be")


@pytest.mark.parametrize("part", ["pipeline", "cache", "gpu"])
def test_the_benchmark_refuses_clips_that_are_none(tmp_path, part):
    done = benchmark(part, str(tmp_path / "gone.mp4"))
    assert done.returncode == 1 and done.stderr == f"error: no such clip: {tmp_path / 'gone.mp4'}\n"


@pytest.mark.parametrize("words", [("--frames", "8,x"), ("--frames", "0"), ("--figure", "a.txt")])
def test_wrong_words_for_the_frontier_are_told_before_it_measures(tmp_path, words):
    wanted = argparse.Namespace(rest=[], frames=None, figure=None, random=False, rounds=1)
    setattr(wanted, words[0][2:], Path(words[1]) if words[0] == "--figure" else words[1])
    with pytest.raises(UserError, match=rf"^{words[0]} must "):
        next(frontier.table(wanted, tmp_path))


def test_the_frontier_shows_the_frames_that_are_asked_for(settings):
    """The brightest colour of a video that turns from red to blue, in either order of its frames."""
    frames = np.concatenate([solid((200, 0, 0), 4), solid((0, 0, 220), 4)])
    for number in range(3):
        write_video(settings.data_dir / "val" / "red" / f"{number}.mkv", frames)
    shown = replace(settings, frame_order="frozen", classes=("red",))
    (row, *_), _ = frontier.measure(shown, 1)
    normal, _ = frontier.measure(replace(shown, frame_order="normal"), 1)
    assert np.ptp(normal[0].logits[:, 0], axis=1).min() > 0
    assert not np.allclose(row.logits, normal[0].logits)
    half, _ = frontier.measure(replace(shown, shard=(1, 3)), 1)
    assert len(half[0].logits) == 1


def test_a_process_that_fails_is_told_in_one_line():
    with pytest.raises(UserError, match=r"it ended with 3$"):
        run_script(["-c", "raise SystemExit(3)"])
    with pytest.raises(UserError, match=r"ValueError: why$"):
        run_script(["-c", "raise ValueError('why')"])


def test_clips_of_one_name(tmp_path):
    clips = [write_video(tmp_path / name / "a.mkv", solid((9, 9, 9))) for name in ("x", "y")]
    link_clips(clips, 2, tmp_path / "data")
    assert len(list((tmp_path / "data" / "val" / "clips").iterdir())) == 4


def test_the_architectures_side_by_side():
    words = [sys.executable, "scripts/benchmark.py", "models", "tiny2plus1d", "--rounds", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| tiny2plus1d | 16 × 96 × 128 | 0.6 |" in done.stdout


def test_an_unknown_architecture_is_refused():
    words = [sys.executable, "scripts/benchmark.py", "models", "tiny3"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: unknown architecture 'tiny3'")


def test_training_beside_looking():
    words = [sys.executable, "scripts/benchmark.py", "training", "tiny2plus1d", "--rounds", "1", "--batch-size", "2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| tiny2plus1d | 16 × 96 × 128 |" in done.stdout and "probe of 5,000 clips, hours" in done.stdout


def test_a_device_under_jax(tmp_path):
    clip = write_video(tmp_path / "a.mp4", moving_square(24, 96, 128), codec="libx264")
    done = benchmark("gpu", "--models", "tiny2plus1d", "--batch-size", "2", "--rounds", "1", str(clip))
    assert done.returncode == 0, done.stderr
    assert "| tiny2plus1d | 16 × 96 × 128 | 0.6 | bfloat16 |" in done.stdout
    assert "decoding alone, for tiny2plus1d" in done.stdout and "jax " in done.stdout
