"""The README's tables of candidate clips: how many are right, against clips at random, and what a scan takes.

python scripts/candidates_table.py --work DIR [--real DIR --background DIR --gaps DIR]

It draws still images and ten-minute videos in DIR, trains a small classifier from nothing, scans, and prints the
table; figures of the scores, the truth below them, are in DIR/drawn. --real DIR holds train/<class>/* and
val/<class>/*, such as jhmdb8: the classifier learns the train clips' frames and those of the videos in --background;
each val clip is played again and again for --loop seconds in one long video, with pieces of the videos in --gaps
between.
"""

import argparse
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from vidbench.arguments import CandidateScanSettings, CandidateTrainSettings
from vidbench.candidates import NONE, match, precision_and_recall, random_clips, smooth
from vidbench.candidates.pictures import read_names, write_jpeg
from vidbench.candidates.run import scan_run, train_run
from vidbench.candidates.sources import id_of
from vidbench.candidates.stream import Frame, sampled_frames
from vidbench.candidates.tables import Scanned
from vidbench.commands import command_errors
from vidbench.data.datasets import load_dataset
from vidbench.data.datasets.tables import video_files
from vidbench.data.decode import decode
from vidbench.data.demo.long import IDLE, Part, plan_parts, shot_frames, write_long_video
from vidbench.data.integrity import DecodeError
from vidbench.utils import written_whole
from vidbench.visualize import save_figure, score_curves

ACTIONS = ("sitting down", "standing up", "star jumps", "waving")
DRAWS = 1000  # of clips at random
THRESHOLDS = (0.5, 0.3)
CLIP_SECONDS = 10
UNSEEN = "all, in a place that it has not seen"
REAL_SIZE = (240, 320)  # rows and columns of the joined video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where drawings, models and scans go")
    parser.add_argument("--places", type=int, default=3, help="that are learnt from, each with a person")
    parser.add_argument("--videos", type=int, default=3, help="long videos, each of one of these places")
    parser.add_argument("--minutes", type=int, default=10, help="of each long video")
    parser.add_argument("--shots", type=int, default=60, help="of a class and place to learn from, 3 frames each")
    parser.add_argument("--backbone", default="mobilenetv3small")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--real", type=Path, help="a folder with train/<class>/* and val/<class>/*")
    parser.add_argument("--background", type=Path, help="with --real: videos without its actions, to learn from")
    parser.add_argument("--gaps", type=Path, help="with --real: others, for the time between")
    parser.add_argument("--loop", type=int, default=5, help="with --real: seconds that each val clip is played")
    parser.add_argument("--memory", action="store_true", help="also the peak memory of scanning 10 and 60 minutes")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)  # one such scan, in a process of its own
    wanted = parser.parse_args()
    with command_errors("candidates_table"):
        if wanted.peak:
            print(_peak(wanted))
            return
        if wanted.real:
            print(real_table(wanted))
            return
        print(drawn_table(wanted))
        if wanted.memory:
            print(memory_lines(wanted))


# ------------------------------------------------------------------ drawn


def drawn_table(wanted) -> str:
    """Draw, train, scan; a row a class of how many clips are right, and how many would be at random."""
    folder = wanted.work / "drawn"
    draw_pictures(folder / "images", wanted)
    checkpoint = _trained(folder, wanted)
    truth = draw_videos(folder / "videos", range(wanted.videos), 60 * wanted.minutes)
    rows = judged(folder, folder / "videos", checkpoint, truth, ACTIONS, CLIP_SECONDS)
    other = wanted.work / "unseen"
    truth = draw_videos(other / "videos", [wanted.places], 60 * wanted.minutes)
    rows[UNSEEN] = judged(other, other / "videos", checkpoint, truth, ACTIONS, CLIP_SECONDS)["all"]
    return table_of(rows)


def draw_videos(folder: Path, groups, seconds: int) -> dict[str, list[Part]]:
    """A long video of each recording, where it is not there yet: its id, and what is done when."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for group in groups:
        rng = np.random.default_rng([1, group])
        parts = plan_parts(ACTIONS, seconds, rng)
        path = folder / f"recording{group}.mp4"
        if not path.exists():
            write_long_video(path, parts, group, rng)
        truth[id_of(Path(path.name))] = parts
    return truth


def draw_pictures(folder: Path, wanted) -> None:
    """Three frames of each of so many shots a class and recording; those of a shot share their name."""
    for group in range(wanted.places):
        for action in (*ACTIONS, IDLE):
            label = NONE if action == IDLE else action
            for number in range(wanted.shots):
                rng = np.random.default_rng([2, group, number, *action.encode()])
                place = folder / label / f"{label}{group}x{number:03d}"
                if not place.with_name(f"{place.name}_2.jpg").exists():
                    for index, frame in enumerate(shot_frames(action, group, rng, number=3)):
                        write_jpeg(place.with_name(f"{place.name}_{index}.jpg"), frame)


# ------------------------------------------------------------------ real


def real_table(wanted) -> str:
    """The same with filmed clips, whose val split is joined into one long video; hits are matches at IoU 0.5."""
    folder = wanted.work / "real"
    train, val = (load_dataset("folder", split, wanted.real).videos for split in ("train", "val"))
    clips = [(video.path, video.label) for video in train]
    clips += [(path, NONE) for path in video_files(wanted.background) if _plays(path)]
    for path, label in clips:
        place = folder / "images" / label / path.stem
        if not place.with_name(f"{place.name}_0.jpg").exists():
            shown = decode(path, lambda count, fps: np.linspace(0, count - 1, 8).astype(int)[None])
            for index, frame in enumerate(shown.frames):
                write_jpeg(place.with_name(f"{place.name}_{index}.jpg"), frame)
    rng = np.random.default_rng(7)
    joined = folder / "videos" / "joined.mp4"
    joined.parent.mkdir(parents=True, exist_ok=True)
    order = [val[place] for place in rng.permutation(len(val))]
    parts = _joined(joined, order, wanted, rng)
    checkpoint = _trained(folder, wanted)
    truth = {id_of(Path(joined.name)): parts}
    return table_of(judged(folder, joined, checkpoint, truth, sorted({video.label for video in val}), wanted.loop))


def _joined(path: Path, videos, wanted, rng) -> list[Part]:
    """Each video in a loop for --loop seconds, three to eight seconds of other videos between: what is when."""
    others = [file for file in video_files(wanted.gaps) if _plays(file)]
    parts, clock = [], 0
    with written_whole(path, "wb") as file, av.open(file, "w", format="mp4") as box:
        stream = box.add_stream("libx264", rate=8, options={"crf": "20", "preset": "veryfast", "g": "32"})
        stream.height, stream.width, stream.pix_fmt = *REAL_SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 8)
        for place, video in enumerate(videos):
            gap = int(rng.integers(3, 9))
            for source, seconds, label in (
                (others[place % len(others)], gap, IDLE),
                (video.path, wanted.loop, video.label),
            ):
                taken = itertools.islice(sampled_frames(source, 8), 8 * seconds)
                frames = [item.image for item in taken if isinstance(item, Frame)]
                for index in range(8 * seconds):
                    image = cv2.resize(frames[index % len(frames)], REAL_SIZE[::-1], interpolation=cv2.INTER_AREA)
                    box.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                parts.append(Part(label, clock, clock + seconds))
                clock += seconds
        box.mux(stream.encode())
    return parts


def _plays(path: Path) -> bool:
    try:
        return isinstance(next(sampled_frames(path, 1)), Frame)
    except DecodeError:
        return False


# ------------------------------------------------------------------ both


def _trained(folder: Path, wanted) -> Path:
    checkpoint = folder / "classifier.keras"
    if not checkpoint.exists():
        settings = CandidateTrainSettings(
            data_dir=folder / "images", feature_extractor=wanted.backbone, weights="none",
            image_size=wanted.image_size, epochs=wanted.epochs, learning_rate=wanted.learning_rate,
            save_checkpoint=checkpoint,
        )  # fmt: skip
        train_run(settings, lambda line: print(line, flush=True))
    return checkpoint


def judged(
    folder: Path, videos: Path, checkpoint: Path, truth: dict[str, list[Part]], actions, clip_seconds: int
) -> dict[str, np.ndarray]:
    """Scan with each threshold; {action, and "all": (true, then for each found, right, right at random)}."""
    rows = {name: [] for name in actions}
    for threshold in THRESHOLDS:
        settings = CandidateScanSettings(
            video_path=str(videos), image_classifier_checkpoint=checkpoint, out_dir=folder / "found",
            clip_seconds=clip_seconds, threshold=threshold, copy=True,
        )  # fmt: skip
        scanned = scan_run(settings, lambda line: print(line, flush=True))
        _figures(scanned, truth, folder, checkpoint, threshold, clip_seconds)
        for action in actions:
            rows[action].append(counts_of(scanned, truth, action))
    found = {name: np.concatenate([counts[0][:1], *(count[1:] for count in counts)]) for name, counts in rows.items()}
    return {**found, "all": np.sum(list(found.values()), axis=0)}


def counts_of(scanned: Scanned, truth: dict[str, list[Part]], action: str) -> np.ndarray:
    """(4,) true intervals of an action, clips found, those that are right at IoU 0.5, and as many at random."""
    counts = np.zeros(4)
    for youtube_id, parts in truth.items():
        wanted = np.array([(part.start, part.end) for part in parts if part.action == action], float).reshape(-1, 2)
        mine = [item for item in scanned.candidates if (item.youtube_id, item.label) == (youtube_id, action)]
        found = np.array([(item.start, item.end) for item in mine], float).reshape(-1, 2)
        right = (match(found, np.array([item.score for item in mine]), wanted) >= 0).sum()
        counts += len(wanted), len(found), right, _at_random(found, wanted, parts[-1].end)
    return counts


def table_of(rows: dict[str, np.ndarray]) -> str:
    """Markdown; of clips at random, those for the lowest threshold, which are most."""
    head = ["action", "true"]
    for threshold in THRESHOLDS:
        head += [f"{threshold:g}: found", "right", "precision", "recall"]
    lines = [f"| {' | '.join([*head, 'at random'])} |", "|---" * (len(head) + 1) + "|"]
    for name, (true, *counts) in rows.items():
        cells = [name, f"{true:.0f}"]
        for found, right, _ in zip(counts[::3], counts[1::3], counts[2::3], strict=True):
            cells += [f"{found:.0f}", f"{right:.0f}", *_shares(right, found, true)]
        cells.append(", ".join(filter(None, _shares(counts[-1], counts[-3], true))))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shares(right: float, found: float, true: float) -> list[str]:
    """Precision and recall in percent, "" for none."""
    return [f"{value:.0%}" if value == value else "" for value in precision_and_recall(right, found, true)]


def _at_random(found: np.ndarray, truth: np.ndarray, seconds: float) -> float:
    """How many of as many clips, of the same lengths, would be right if they lay anywhere."""
    rng = np.random.default_rng(3)
    lengths = found[:, 1] - found[:, 0]
    draws = [random_clips(lengths, seconds, rng) for _ in range(DRAWS)]
    return float(np.mean([(match(clips, np.zeros(len(clips)), truth) >= 0).sum() for clips in draws]))


def _figures(scanned: Scanned, truth, folder: Path, checkpoint: Path, threshold: float, seconds: float) -> None:
    """The scores over time once more, the truth below them."""
    classes = read_names(checkpoint.with_suffix(".txt"))
    shown = [index for index, name in enumerate(classes) if name != NONE]
    names = [classes[index] for index in shown]
    for youtube_id, seen in scanned.scores.items():
        own = [item for item in scanned.candidates if item.youtube_id == youtube_id]
        figure = score_curves(
            seen.times,
            seen.scores[:, shown],
            smooth(seen.times, seen.scores, seconds)[:, shown],
            names,
            {name: [(item.start, item.end) for item in own if item.label == name] for name in names},
            threshold,
            [(item.start, item.end) for item in seen.damaged],
            {name: [(part.start, part.end) for part in truth[youtube_id] if part.action == name] for name in names},
        )
        save_figure(figure, folder / f"{youtube_id}-{threshold:g}.png")


# ------------------------------------------------------------------ memory


def memory_lines(wanted) -> str:
    """Peak memory of scanning ten minutes, and the same six times over, each in a process of its own."""
    folder = wanted.work / "drawn"
    short = sorted((folder / "videos").glob("*.mp4"))[0]
    long = wanted.work / "memory" / "long.mp4"
    long.parent.mkdir(parents=True, exist_ok=True)
    if not long.exists():
        _repeated(short, long, 6)
    lines = []
    for path in (short, long):
        command = [sys.executable, __file__, "--work", str(wanted.work), "--peak", str(path)]
        lines.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return "\n".join(lines)


def _peak(wanted) -> str:
    from vidbench.machine import peak_memory_mb

    folder = wanted.work / "memory" / wanted.peak.stem
    settings = CandidateScanSettings(
        video_path=str(wanted.peak), image_classifier_checkpoint=wanted.work / "drawn" / "classifier.keras",
        out_dir=folder, overwrite=True, copy=True,
    )  # fmt: skip
    scanned = scan_run(settings)
    (seen,) = scanned.scores.values()
    return f"- {seen.seconds / 60:.0f} minutes: peak memory {peak_memory_mb():,} MB"


def _repeated(source: Path, target: Path, times: int) -> None:
    """Write the packets of `source` so many times, one behind the other."""
    with written_whole(target, "wb") as file, av.open(file, "w", format="mp4") as box:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as given:
                origin = given.streams.video[0]
                stream = stream or box.add_stream_from_template(origin)
                for packet in given.demux(origin):
                    if packet.dts is not None:
                        packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                        box.mux(packet)
                shift += origin.duration


if __name__ == "__main__":
    main()
