"""Writing demo clips to a folder in the layout of Kinetics, and reading back what was written."""

import csv
import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from tqdm import tqdm

from vidbench.data.demo.plan import FPS
from vidbench.data.demo.render import render
from vidbench.data.demo.specs import ClipSpec
from vidbench.utils import UserError, written_whole

CRF = (24, 28, 34)  # by level: how strongly H.264 compresses
SLOT_SECONDS = 4  # clips of one recording begin this far apart
KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
TYPES = {field.name: field.type for field in fields(ClipSpec)}


def youtube_id(spec: ClipSpec) -> str:
    """The made-up name of the recording, 11 characters as on YouTube.

    >>> len(youtube_id(ClipSpec("waving")))
    11
    """
    number = int(hashlib.sha256(f"recording {spec.group}".encode()).hexdigest(), 16)
    return "demo" + "".join("0123456789abcdefghijklmnopqrstuvwxyz"[number // 36**place % 36] for place in range(7))


def start_seconds(spec: ClipSpec) -> int:
    """Where the clip begins in its recording: demo specs hold the clip's number in the last digit of the seed."""
    return spec.seed % 10 * SLOT_SECONDS


def video_id(spec: ClipSpec) -> str:
    """The name of the clip's file without its ending, in the form of Kinetics."""
    start = start_seconds(spec)
    return f"{youtube_id(spec)}_{start:06d}_{start + SLOT_SECONDS:06d}"


def draw_dataset(
    folder: Path, specs: Sequence[ClipSpec], split: str = "val", workers: int = 1, progress: bool = False
) -> list[Path]:
    """Draw clips to `folder/<split>/<video_id>.mp4` and describe them; returns their paths, in order.

    `folder/<split>.csv` has the columns of Kinetics, `folder/attributes.csv` every field of every clip's spec;
    rows of other splits stay. Files that are there already are kept, so an interrupted drawing can go on:
    draw other specs into another folder.
    """
    folder, names = Path(folder), [video_id(spec) for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise UserError(f"specs of one group must differ in the last digit of their seed: {', '.join(twice[:3])}")
    paths = [folder / split / f"{name}.mp4" for name in names]
    jobs = [(spec, path) for spec, path in zip(specs, paths, strict=True) if not path.exists()]
    done = in_parallel(_draw_file, jobs, workers)
    for _ in tqdm(done, total=len(jobs), desc=f"drawing {split}", disable=not progress):
        pass
    rows = [
        (spec.action, youtube_id(spec), start_seconds(spec), start_seconds(spec) + SLOT_SECONDS, split)
        for spec in specs
    ]
    _write_rows(folder / f"{split}.csv", KINETICS_COLUMNS, rows)
    attributes = folder / "attributes.csv"
    others = [row for row in _read_rows(attributes) if row["split"] != split] if attributes.exists() else []
    columns = ("video_id", "split", *TYPES)
    ours = [(name, split, *asdict(spec).values()) for name, spec in zip(names, specs, strict=True)]
    _write_rows(attributes, columns, [*([row[column] for column in columns] for row in others), *ours])
    return paths


def read_attributes(path: Path) -> dict[str, ClipSpec]:
    """video_id → the spec that drew it, from an `attributes.csv`."""
    return {row["video_id"]: _spec_from(row) for row in _read_rows(path)}


def write_video(path: Path, frames: np.ndarray, crf: int) -> None:
    """Encode frames (T, H, W, 3) uint8 RGB as H.264 in MP4; one thread, so equal frames give equal files."""
    with written_whole(path, "wb") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "medium"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _draw_file(job: tuple[ClipSpec, Path]) -> None:
    spec, path = job
    write_video(path, render(spec).frames, CRF[spec.level])


def in_parallel(work, jobs: list, workers: int) -> Iterator:
    """The results of `work` for each job, in order, as they come."""
    if workers <= 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=partial(cv2.setNumThreads, 1)) as pool:
        yield from pool.map(work, jobs, chunksize=4)


def _spec_from(row: dict[str, str]) -> ClipSpec:
    values = {name: row[name] == "True" if kind is bool else kind(row[name]) for name, kind in TYPES.items()}
    return ClipSpec(**values)


def _read_rows(path: Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    with written_whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
