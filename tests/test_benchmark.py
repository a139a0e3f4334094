import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import drawn_scene, moving_square, solid, write_video

from vidbench.benchmark.prototype import prototype_run

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
    assert done.returncode == 2 and "unrecognized arguments: --precision int8" in done.stderr
    done = benchmark("frontier", "--precision", "half")
    assert done.returncode == 1 and done.stderr.startswith("error: --precision must be")


def test_the_benchmark_refuses_clips_that_are_none(tmp_path):
    words = [sys.executable, "scripts/benchmark.py", "pipeline", str(tmp_path / "gone.mp4")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == f"error: no such clip: {tmp_path / 'gone.mp4'}\n"


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
