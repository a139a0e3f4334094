"""The same results on JAX, in a process of its own: Keras's backend is chosen once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from vidbench.models import gflop, load_model

ROOT = Path(__file__).parents[1]


def run(*words, backend="jax"):
    env = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Eight demo videos, scored on either backend."""
    folder = tmp_path_factory.mktemp("results")
    for backend in ("tensorflow", "jax"):
        words = ["--num-videos", "8", "--results-dir", str(folder), "--cache-dir", str(folder / "cache")]
        done = run("scripts/evaluate.py", *words, "--name", backend, backend=backend)
        assert done.returncode == 0, done.stderr
        assert all("video" in line for line in done.stderr.splitlines() if line)  # nothing but the progress bar
    return folder


def test_an_evaluation_gives_the_same_probabilities(results):
    ours, theirs = (pd.read_csv(results / name / "predictions.csv") for name in ("jax", "tensorflow"))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4)


def test_its_report_says_what_ran(results):
    reports = [json.loads((results / name / "report.json").read_text()) for name in ("jax", "tensorflow")]
    assert [report["model"]["runtime"] for report in reports] == ["jax", "tensorflow"]


def test_a_run_of_the_other_backend_is_another_run(results):
    words = ["--num-videos", "8", "--results-dir", str(results), "--name", "tensorflow"]
    done = run("scripts/evaluate.py", *words)
    assert done.returncode == 1 and "runtime" in done.stderr and done.stderr.count("\n") == 1


def test_bfloat16_and_what_does_not_fit():
    code = """
import numpy as np
from vidbench.models import gflop, load_model
from vidbench.utils import UserError
clips = np.random.default_rng(0).integers(0, 256, (2, 8, 96, 128, 3), dtype=np.uint8)
full, half = load_model("demo"), load_model("demo", precision="bfloat16")
a, b = full(clips), half(clips)
print(full, half)
view = 8, (96, 128)
print(0 < np.abs(a - b).max() < 0.1 * np.abs(a).max(), b.dtype, gflop(full, *view), gflop(full.network, *view))
head = half._runtime._network.layers[-1]
print(head.name, head.compute_dtype, {layer.compute_dtype for layer in half._runtime._network.layers[1:-1]})
try:
    load_model("demo", precision="int4")
except UserError as problem:
    print(problem)
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("float32, jax) Classifier('demo', 8 classes, bfloat16, jax)")
    same, dtype, *counted = lines[1].split()
    assert (same, dtype) == ("True", "float32")
    wanted = gflop(load_model("demo"), 8, (96, 128))
    assert [float(number) for number in counted] == pytest.approx([wanted, wanted])
    assert lines[2] == "logits float32 {'bfloat16'}"
    assert lines[3] == "precision must be one of float32, bfloat16, int8, got 'int4'"
