import gc
import signal
import sys
import time

import pytest

from vidbench.commands import command_errors, without_comment
from vidbench.utils import UserError


@pytest.fixture
def interruptible():
    """SIGINT as a terminal's processes have it: those in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("problem", "status", "line"),
    [
        (UserError("no such\n  folder"), 1, "error: no such folder\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "error: no space left on device; what was written is kept, the same command goes on\n",
        ),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "error: /x/y: permission denied\n"),
        (KeyError("x"), 1, "error: KeyError: 'x' (--debug shows where)\n"),
        (KeyboardInterrupt(), 130, "evaluate: interrupted\n"),
    ],
)
def test_a_command_ends_in_one_line(capsys, problem, status, line):
    with pytest.raises(SystemExit) as caught, command_errors("evaluate"):
        raise problem
    assert caught.value.code == status and capsys.readouterr().err == line


def test_an_interrupt_that_a_library_turned_into_another_error_is_still_one(capsys, interruptible):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as caught, command_errors("evaluate"):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("as NumPy does while it loads") from None
    assert caught.value.code == 130 and capsys.readouterr().err == "evaluate: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_python_discards_is_sent_again(capsys, interruptible):
    def interrupted(phase, info):
        if not sent:
            sent.append(phase)
            signal.raise_signal(signal.SIGINT)

    sent, hook = [], sys.unraisablehook
    gc.callbacks.append(interrupted)
    try:
        with pytest.raises(SystemExit) as caught, command_errors("train"):
            gc.collect()  # what its callbacks raise is discarded
            assert sent
            time.sleep(30)
    finally:
        gc.callbacks.remove(interrupted)
    assert caught.value.code == 130 and capsys.readouterr().err == "train: interrupted\n"
    assert sys.unraisablehook is hook


def test_debug_lets_the_error_through():
    with pytest.raises(KeyError), command_errors("evaluate") as ending:
        ending.debug = True
        raise KeyError("x")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("# all of it", ""),
        ("--name x  # why", "--name x  "),
        ("--data-dir /set#2", "--data-dir /set#2"),
        ("--name '# x' #y", "--name '# x' "),
        ('--name "it\'s" # x', '--name "it\'s" '),
    ],
)
def test_comments_of_argfiles(line, kept):
    assert without_comment(line) == kept
