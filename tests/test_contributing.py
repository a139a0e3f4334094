import re
from pathlib import Path

import numpy as np
import pytest

from vidbench.data.datasets import DATASETS, load_dataset

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


@pytest.fixture
def example():
    """Run the file that CONTRIBUTING.md shows under a path; what it registers is forgotten afterwards."""
    from vidbench.models.registry import ARCHITECTURES

    registries = [(registry, dict(registry)) for registry in (DATASETS, ARCHITECTURES)]

    def run(path: str) -> dict:
        (code,) = re.findall(rf"```python\n(# {re.escape(path)}\n.*?)```", TEXT, flags=re.S)
        names: dict = {"__name__": "example"}
        exec(compile(code, path, "exec"), names)
        return names

    yield run
    for registry, before in registries:
        registry.clear()
        registry.update(before)


def test_the_example_of_a_model(example, tmp_path, monkeypatch):
    from vidbench.models import available_models, build_model, load_model

    example("vidbench/models/c3d.py")
    network = build_model("c3d", 5)
    logits = network(np.zeros((2, 16, 32, 32, 3), np.float32), training=False)
    assert logits.shape == (2, 5) and "c3d" in available_models()
    monkeypatch.chdir(tmp_path)
    (saving,) = re.findall(r"```python\n(from vidbench.*?)```", TEXT, flags=re.S)
    exec(compile(saving, "CONTRIBUTING.md", "exec"), {})
    assert load_model("c3d.keras").spec.classes == ("run", "sit")


def test_the_example_of_a_data_set(example, tmp_path):
    example("vidbench/data/datasets/jester.py")
    (tmp_path / "20bn-jester-v1" / "34870").mkdir(parents=True)
    (tmp_path / "jester-v1-validation.csv").write_text("34870;Drumming Fingers\n56557;Sliding Two Fingers Left\n")
    found = load_dataset("jester", "val", tmp_path)
    assert found.classes == ("Drumming Fingers", "Sliding Two Fingers Left")
    assert found.population == {"annotations": 2, "found": 1} and found.videos[1].path is None
