"""What all commands share: flags and argfiles derived from a settings class, and how a command ends."""

import argparse
import csv
import difflib
import errno
import io
import re
import shlex
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import get_args

from vidbench.utils import UserError, printable

AGAIN_SECONDS = 0.05  # after which an interrupt that was lost is sent again
METAVARS = {int: "N", float: "X", str: "NAME", Path: "PATH", bool: None}


class Parser(argparse.ArgumentParser):
    """Flags with dashes or underscores; `@file` holds flags, several a line, with # comments; later ones win."""

    def __init__(self, **options):
        super().__init__(fromfile_prefix_chars="@", allow_abbrev=False, argument_default=argparse.SUPPRESS, **options)

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        try:
            return self._dashed(shlex.split(without_comment(arg_line)))
        except ValueError as problem:
            raise UserError(f"unreadable argfile line {arg_line!r}: {problem}") from None

    def parse_known_args(self, args=None, namespace=None):
        arguments = self._dashed(sys.argv[1:] if args is None else list(args))
        for argument in arguments:
            if argument.startswith("@"):
                self._check_argfile(Path(argument[1:]))
        return super().parse_known_args(arguments, namespace)

    def _check_argfile(self, path: Path) -> None:
        try:
            path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"no such argfile: {path}") from None
        except (OSError, UnicodeDecodeError) as problem:
            raise UserError(f"unreadable argfile {path}: {problem}") from None

    def _dashed(self, arguments: list[str]) -> list[str]:
        """One spelling for flags, and values such as -1,1 bound to theirs (they look like flags)."""
        tidy: list[str] = []
        for argument in arguments:
            if argument.startswith("--"):
                flag, equals, value = argument.partition("=")
                argument = flag.replace("_", "-") + equals + value
            elif re.match(r"-[\d.]", argument) and tidy and tidy[-1].startswith("--") and "=" not in tidy[-1]:
                tidy[-1] += f"={argument}"
                continue
            tidy.append(argument)
        return tidy

    def error(self, message: str):
        """Status 2, with the nearest flag where one was mistyped."""
        unknown = re.findall(r"--[\w-]+", message) if message.startswith("unrecognized") else []
        known = [flag for action in self._actions for flag in action.option_strings]
        guesses = [near[0] for flag in unknown if (near := difflib.get_close_matches(flag, known, n=1))]
        hint = f" (did you mean {' '.join(guesses)}?)" if guesses else ""
        self.exit(2, f"{self.prog}: {message}{hint}; --help lists the flags\n")


def without_comment(line: str) -> str:
    """A line of an argfile up to its comment: a # at its beginning or after white space, outside of quotes.

    >>> without_comment("--data-dir /data/set#2 --name '# 1'  # the second")
    "--data-dir /data/set#2 --name '# 1'  "
    """
    quote = ""
    for place, char in enumerate(line):
        if char in "\"'":
            quote = "" if quote == char else quote or char
        elif char == "#" and not quote and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line


def add_settings(parser: argparse.ArgumentParser, settings: type) -> None:
    """Add a flag for every field of a settings class."""
    for item in fields(settings):
        if item.metadata["positional"]:
            parser.add_argument(item.name, nargs="+", metavar=item.metadata["metavar"], help=item.metadata["help"])
            continue
        flags = [f"--{name.replace('_', '-')}" for name in (item.name, *item.metadata["also"])]
        kind = _plain_type(item.type)
        default = "" if item.default in (None, (), False, MISSING) else f" (default: {_shown(item.default)})"
        text = (item.metadata["help"] + default).replace("%", "%%")
        if kind is bool:
            parser.add_argument(*flags, dest=item.name, action=argparse.BooleanOptionalAction, help=text)
        else:
            metavar = item.metadata["metavar"] or METAVARS[kind]
            kind = str if item.metadata["parse"] else kind  # parsed later, so that a bad value is no wrong usage
            words = "+" if item.metadata["several"] else None if item.metadata["alone"] is None else "?"
            alone = {} if item.metadata["alone"] is None else {"const": item.metadata["alone"]}
            kind = _path if kind is Path else kind
            parser.add_argument(*flags, dest=item.name, type=kind, help=text, metavar=metavar, nargs=words, **alone)


def command_line(words: Sequence[str], job_arguments: str | None) -> list[str]:
    """A command's arguments, whether a terminal or a job of Cloudera AI starts it.

    words: `sys.argv[1:]`. Where an IPython kernel runs the script, as Cloudera's PBJ Workbench does, they are the
    kernel's own (`-f kernel.json`), and not the command's.
    job_arguments: the environment variable JOB_ARGUMENTS, in which a job's arguments come as one string, quoted as in
    a shell, "None" or "none" for none. Arguments in `words` win over it: a job may run other commands.
    Raises UserError for a quote that is not closed.

    >>> command_line(["-f", "/run/kernel-1.json"], "@scripts/config.txt --name 'my run'")
    ['@scripts/config.txt', '--name', 'my run']
    >>> command_line(["--num-videos", "4"], "None"), command_line([], "None"), command_line([], None)
    (['--num-videos', '4'], [], [])
    """
    of_a_kernel = any(flag == "-f" and file.endswith(".json") for flag, file in pairwise(words))
    if words and not of_a_kernel:
        return list(words)
    if not job_arguments or job_arguments.strip().lower() == "none":
        return []
    try:
        return shlex.split(job_arguments)
    except ValueError as problem:
        raise UserError(f"unreadable JOB_ARGUMENTS {job_arguments!r}: {problem}") from None


def parse_settings(settings: type, arguments: list[str] | None = None, **options):
    """The command line as a settings object; `--help` and wrong usage end the process as argparse does.

    Raises UserError for values that are no good: negative numbers, unknown choices, unreadable argfiles.
    """
    parser = Parser(**options)
    add_settings(parser, settings)
    values = vars(parser.parse_args(arguments))
    for item in fields(settings):
        if item.metadata["several"] and item.name in values:
            values[item.name] = " ".join(values[item.name])
        if item.metadata["parse"] and item.name in values:
            values[item.name] = item.metadata["parse"](values[item.name])
        if item.metadata["positional"]:
            values[item.name] = tuple(values[item.name])
    return settings(**values)


def as_argfile(settings) -> str:
    """The settings that differ from their defaults, as an argfile that gives the same settings again."""
    lines = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if value == item.default:
            continue
        flag = f"--{item.name.replace('_', '-')}"
        if isinstance(value, bool):
            lines.append(flag if value else f"--no-{flag[2:]}")
        else:
            lines.append(f"{flag}={shlex.quote(_shown(value, item.name))}")
    return "\n".join(lines) + "\n"


def _shown(value, name: str = "") -> str:
    """A value as its flag takes it; in lists, names with commas or quotes stand in quotes, as `comma_list` wants."""
    if not isinstance(value, tuple):
        return str(value)
    if joint := {"views": "x", "shard": "/"}.get(name):
        return joint.join(map(str, value))
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def _path(text: str) -> Path:
    """A path; an empty one, as of a shell variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path")
    return Path(text)


def _plain_type(annotation) -> type:
    """`int | None` → int."""
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


class Ending:
    """How a command ends: `debug` shows tracebacks, `interrupted` is what Ctrl-C says."""

    debug = False
    interrupted = "interrupted"


@contextmanager
def command_errors(name: str) -> Iterator[Ending]:
    """End a command as the contract says.

    A UserError or OSError is one line on stderr and status 1, anything else too but with its type; Ctrl-C is
    status 130. Status 0 is no SystemExit, which would fail a job of Cloudera AI: the block just ends, after --help too.
    The block may change the `Ending` that it is given.
    """
    ending = Ending()
    warnings.filterwarnings("ignore", "To exit: use", UserWarning)  # what IPython says of a status, below our line
    with _interrupts() as seen:
        try:
            yield ending
        except SystemExit as end:
            if end.code:
                raise
        except (KeyboardInterrupt, Exception) as problem:
            if seen or isinstance(problem, KeyboardInterrupt):
                print(f"{name}: {ending.interrupted}", file=sys.stderr)
                raise SystemExit(130) from None
            if ending.debug:
                raise
            print(f"error: {printable(in_words(problem))}", file=sys.stderr)
            raise SystemExit(1) from None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The SIGINTs that came inside the block; each ends it, whatever the main thread is doing then.

    Compiled modules that are interrupted while they load, NumPy's among them, may raise an ImportError instead of
    the KeyboardInterrupt. One that is raised where Python discards exceptions (in a callback of the garbage collector,
    as JAX has one, in `__del__`) is sent again. Outside of the main thread, where Python handles no signals, the list
    stays empty.
    """
    seen: list[int] = []
    before, unraisable = signal.getsignal(signal.SIGINT), sys.unraisablehook
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield seen
        return

    def note(number: int, frame: types.FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    def again(lost) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            unraisable(lost)
            return
        main = (threading.main_thread().ident, signal.SIGINT)  # a real signal, which also ends a wait
        later = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, main)  # from in here it would be lost once more
        later.daemon = True
        later.start()

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = again
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = unraisable


def in_words(problem: Exception) -> str:
    """An error as one line."""
    text = " ".join(str(problem).split())
    if isinstance(problem, UserError):
        return text
    if isinstance(problem, OSError) and problem.strerror:
        words = problem.strerror[0].lower() + problem.strerror[1:]
        kept = "; what was written is kept, the same command goes on" if problem.errno == errno.ENOSPC else ""
        return (f"{problem.filename}: {words}" if problem.filename else words) + kept
    return f"{type(problem).__name__}: {text[:300]} (--debug shows where)"
