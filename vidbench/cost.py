"""What a run would cost, before it starts."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vidbench.arguments import EvaluateSettings
from vidbench.data.datasets import shard_of
from vidbench.data.kinetics_facts import KINETICS_400
from vidbench.data.load import Sample
from vidbench.data.records import Video
from vidbench.machine import usable_cpus
from vidbench.predict import score
from vidbench.prepare import list_videos, load_classifier, loader_of, match_classes
from vidbench.utils import readable_bytes, readable_seconds

if TYPE_CHECKING:
    from vidbench.models import Classifier

TRIAL_CLIPS = 4


def dry_run(settings: EvaluateSettings) -> str:
    """What a run would cost, from a few clips of it; nothing is written but the converted model, if any."""
    found, videos = list_videos(settings)
    model = load_classifier(settings, videos)
    from vidbench.runtimes import device_name  # after the model: TensorFlow takes seconds to import

    videos, _ = match_classes(videos, found, model.spec.classes, settings.predict_only)
    videos = shard_of(videos, settings.shard)
    present = [video for video in videos if video.path is not None and video.path.exists()]
    protocol = model.spec.protocol
    gflop = model.gflop(protocol.num_frames, protocol.frame_size) * protocol.views
    work = "GFLOP not counted" if math.isnan(gflop) else f"{gflop:,.1f} GFLOP"
    lines = [
        f"{model.spec.name} on {found.name} {found.split}",
        f"  listed     {len(videos):,} videos, {len(present):,} of them found, "
        f"{readable_bytes(sum(map(file_bytes, present)))} on this disk",
        f"  a video    {protocol.views} views of {protocol.num_frames} frames, {work}",
        f"  device     {device_name()}, {usable_cpus()} processors, {settings.precision}",
    ]
    decoding, scoring = _trial(settings, model, present[:TRIAL_CLIPS])
    if decoding is None:
        lines.append("  time       not known: none of its first videos can be decoded")
    else:
        workers = settings.workers or usable_cpus()
        hidden = device_name() != "CPU"  # a GPU computes while the CPU decodes; on a CPU they share the processors
        each = max(scoring, decoding / workers) if hidden else scoring + decoding / usable_cpus()
        lines.append(f"  time       {decoding:.3f} s to decode a video, {scoring:.3f} s for the model")
        lines.append(f"             together {readable_seconds(each * len(present))} for those found")
    cache = min(protocol.most_bytes * len(present), settings.cache_max_bytes or math.inf)
    lines.append(f"  cache      at most {readable_bytes(cache)}" if settings.cache else "  cache      none")
    return "\n".join(lines)


def _trial(settings: EvaluateSettings, model: "Classifier", videos: list[Video]) -> tuple[float | None, float | None]:
    """Seconds to decode a video in one worker, and seconds that the model takes for it; None where none decodes."""
    loader = loader_of(replace(settings, cache=False, workers=1), videos, model.spec.protocol)
    began, samples = None, []
    for item in loader:
        began = began or time.perf_counter()  # the first one pays for the start of the worker
        samples += [item] if isinstance(item, Sample) else []
    if not samples:
        return None, None
    decoding = (time.perf_counter() - began) / max(1, len(videos) - 1)
    list(score(model, samples[:1]))  # traced
    began = time.perf_counter()
    list(score(model, samples))
    return decoding, (time.perf_counter() - began) / len(samples)


def cost_table(seconds_a_clip: float, nodes: Sequence[int] = (1, 8, 64)) -> str:
    """What scoring all of Kinetics-400 takes on so many nodes, as Markdown: computed, not measured.

    seconds_a_clip: measured on one node, from files to report. The nodes are taken to share the clips evenly; their
    start, and the wait for the last clip, are not counted.
    """
    rows = [
        ["Kinetics-400, computed", "clips", *(f"{number} node{'s' * (number > 1)}" for number in nodes), "node-hours"],
        ["---"] * (len(nodes) + 3),
    ]
    for split in ("val", "train"):
        clips = KINETICS_400[split].clips
        seconds = clips * seconds_a_clip
        times = (readable_seconds(seconds / number) for number in nodes)
        rows.append([split, f"{clips:,}", *times, f"{seconds / 3600:,.1f}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def file_bytes(video: Video) -> int:
    """The size of a video's file, or of all frames in its folder."""
    if video.path.is_dir():
        return sum(file.stat().st_size for file in video.path.iterdir() if file.is_file())
    return video.path.stat().st_size
