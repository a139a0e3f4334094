import subprocess
import sys
from pathlib import Path

from conftest import moving_square, write_video

ROOT = Path(__file__).parents[1]


def test_the_benchmark_prints_its_table(tmp_path):
    clips = [write_video(tmp_path / f"{n}.mp4", moving_square(24, 96, 128), codec="libx264") for n in range(2)]
    words = [
        "pipeline",
        "--model",
        "tiny2plus1d",
        "--num-frames",
        "8",
        "--rounds",
        "1",
        "--copies",
        "1",
        *map(str, clips),
    ]
    done = subprocess.run([sys.executable, "scripts/benchmark.py", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for text in (
        "| model, float32 |",
        "| model, bfloat16 |",
        "| files to report, float32 |",
        "peak memory",
        "2 clips a round",
    ):
        assert text in done.stdout
    assert "cache: 0.30 MB" in done.stdout  # 8 frames of 96 × 128 × 3 bytes


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
