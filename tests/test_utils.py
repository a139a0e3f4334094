import subprocess
import sys

import pytest

from vidbench import utils


def test_unknown_names_list_the_right_ones():
    problem = utils.unknown("model", "i3", ["i3d", "demo"])
    assert isinstance(problem, ValueError) and "did you mean 'i3d'" in str(problem) and "demo, i3d" in str(problem)


@pytest.mark.parametrize("spelling", ["Climb_Stairs", ' "climb  stairs" ', "climb stairs", "CLIMB_STAIRS"])
def test_labels_have_one_spelling(spelling):
    assert utils.canonical_label(spelling) == "climb stairs"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "x.txt"
    with pytest.raises(RuntimeError), utils.written_whole(target) as file:
        file.write("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with utils.written_whole(target) as file:
        file.write("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and len(list(target.parent.iterdir())) == 1


@pytest.mark.parametrize("module", ["vidbench", "vidbench.data", "vidbench.data.load", "vidbench.run"])
def test_importing_loads_neither_tensorflow_nor_the_network(module):
    code = (
        "import sys\n"
        "def hook(event, args):\n if event == 'socket.connect': raise OSError(args)\n"
        f"sys.addaudithook(hook)\nimport {module}\n"
        "print([name for name in ('tensorflow', 'keras', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
