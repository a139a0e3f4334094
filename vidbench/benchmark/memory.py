"""Does memory stay flat over a long run? An evaluation as a process of its own, looked at from outside."""

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from vidbench.data.datasets import ROOT, load_dataset
from vidbench.utils import UserError

LOOK_SECONDS = 0.5
MILESTONES = (0.1, 0.5, 1.0)  # of the videos


@dataclass(frozen=True)
class Look:
    """Videos scored so far; proportional memory in MB of the main process and of all its workers; how many these are.

    Proportional: a page that several processes share counts in equal parts, so the sum is what is really taken.
    """

    videos: int
    main_mb: float
    workers_mb: float
    workers: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `scripts/benchmark.py memory`."""
    parser.add_argument("--videos", type=int, default=2000, help="links to the demo's clips (default: 2000)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--cache", action="store_true", help="with a cache (default: without)")


def table(wanted: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Memory after a tenth, half and all of the videos, line by line. Linux only."""
    if not Path("/proc/self/smaps_rollup").is_file():
        raise UserError("memory is measured on Linux alone: it reads /proc")
    link_demo(wanted.videos, folder / "data")
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "--model", wanted.model, "--dataset", "folder"]
    command += ["--data-dir", str(folder / "data"), "--results-dir", str(folder / "results"), "--name", "run"]
    command += ["--batch-size", str(wanted.batch_size), "--workers", str(wanted.workers)]
    command += ["--cache-dir", str(folder / "cache")] if wanted.cache else ["--no-cache"]
    looks = list(watch(command, folder / "results" / "run" / "predictions.csv"))
    if len(looks) < 2:
        raise UserError("the run was too short to be looked at: more --videos")
    title = f"videos scored, batch {wanted.batch_size}, {wanted.workers} workers"
    yield f"| {title} | main process, MB | workers together, MB |"
    yield "|---|---|---|"
    for share in MILESTONES:
        look = next((look for look in looks if look.videos >= share * wanted.videos), looks[-1])
        yield f"| {look.videos:,} | {look.main_mb:,.0f} | {look.workers_mb:,.0f} |"
    most = max(looks, key=lambda look: look.main_mb + look.workers_mb)
    yield (
        f"\n- the most at any look, every {LOOK_SECONDS:g} s: {most.main_mb + most.workers_mb:,.0f} MB, after "
        f"{most.videos:,} videos; memory that processes share is counted once; {wanted.model}, "
        f"{'with a' if wanted.cache else 'no'} cache"
    )


def link_demo(count: int, folder: Path) -> None:
    """A folder data set of `count` links to the demo's clips, again and again."""
    clips = islice(cycle(load_dataset("demo", "val").videos), count)
    for number, video in enumerate(clips):
        link = folder / "val" / video.label / f"{number:06}{video.path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(video.path.resolve())


def watch(command: list[str], rows: Path) -> Iterator[Look]:
    """Run a command and look at it until it ends; UserError where it fails. rows: the CSV that it writes."""
    errors = rows.parents[2] / "errors.txt"  # a pipe that nobody reads would fill up
    with errors.open("w") as held, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=held) as run:
        try:
            while run.poll() is None:
                scored = rows_in(rows)
                family = descendants(run.pid)
                sizes = [memory_mb(pid) for pid in family]
                if scored and sizes:
                    yield Look(scored, memory_mb(run.pid), sum(sizes), len(sizes))
                time.sleep(LOOK_SECONDS)
        finally:
            run.kill()
    if run.returncode:
        said = errors.read_text().strip().splitlines()
        raise UserError(f"the run failed: {said[-1] if said else run.returncode}")


def rows_in(path: Path) -> int:
    """How many rows a growing table has below its header."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    except FileNotFoundError:
        return 0


def descendants(pid: int) -> list[int]:
    """The processes below a process, on Linux."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:  # gone meanwhile
            continue
        found += [below for child in children for below in (child, *descendants(child))]
    return found


def memory_mb(pid: int) -> float:
    """The proportional set size of a process in MB of 2²⁰ bytes, on Linux; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
