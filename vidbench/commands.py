"""What all commands share: how they end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vidbench.utils import UserError


@contextmanager
def command_errors(name: str, debug: bool) -> Iterator[None]:
    """End a command as the contract says.

    A UserError or OSError is one line on stderr and status 1, anything else too but with its type; Ctrl-C is
    status 130. With `debug` the traceback is shown.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as problem:
        if debug:
            raise
        text = " ".join(str(problem).split()) or type(problem).__name__
        if not isinstance(problem, UserError | OSError):
            text = f"{type(problem).__name__}: {text[:300]} (--debug shows where)"
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(1) from None
