"""What nbval does not look at: nbval itself runs the notebooks (`--nbval-lax` in pyproject.toml)."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_the_top_and_holds_no_error_and_no_path_of_a_machine(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    text = json.dumps([cell["source"] for cell in cells]) + json.dumps([o.get("text", "") for o in outputs])
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", text)
    assert path.stat().st_size < 3_000_000


def test_there_is_a_notebook():
    assert "video_classification" in {path.stem for path in NOTEBOOKS}
