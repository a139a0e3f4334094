import pytest

from vidbench.commands import command_errors
from vidbench.utils import UserError


@pytest.mark.parametrize(
    ("problem", "status", "line"),
    [
        (UserError("no such\n  folder"), 1, "error: no such folder\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (KeyError("x"), 1, "error: KeyError: 'x' (--debug shows where)\n"),
        (KeyboardInterrupt(), 130, "evaluate: interrupted; the same command goes on where it stopped\n"),
    ],
)
def test_a_command_ends_in_one_line(capsys, problem, status, line):
    with pytest.raises(SystemExit) as caught, command_errors("evaluate", debug=False):
        raise problem
    assert caught.value.code == status and capsys.readouterr().err == line


def test_debug_lets_the_error_through():
    with pytest.raises(KeyError), command_errors("evaluate", debug=True):
        raise KeyError("x")
    with pytest.raises(SystemExit), command_errors("evaluate", debug=True):
        raise KeyboardInterrupt
