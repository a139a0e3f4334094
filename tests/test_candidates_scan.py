"""Scans of tiny long videos: what is found, what is written, what goes wrong, and going on after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from colored import COLORS, color_classifier, colored_video

from vidbench.arguments import CandidateScanSettings
from vidbench.candidates.cut import cut_clip
from vidbench.candidates.run import scan_run
from vidbench.candidates.scores import Growing, read_scores
from vidbench.candidates.stream import Damage
from vidbench.candidates.tables import read_candidates
from vidbench.data.datasets import load_dataset
from vidbench.data.datasets.tables import kinetics_rows
from vidbench.data.decode import decode, probe
from vidbench.data.integrity import DecodeError
from vidbench.utils import UserError
from vidbench.visualize import score_curves

ROOT = Path(__file__).parents[1]
ACTIONS = [("red", 10, 16), ("blue", 24, 30), ("red", 44, 50)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return color_classifier(tmp_path_factory.mktemp("classifier") / "colours.keras")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return colored_video(tmp_path_factory.mktemp("video") / "aQ1-_bcdefg.mp4", 60, ACTIONS)


def settings_of(tmp_path: Path, checkpoint: Path, video: Path | str, **options) -> CandidateScanSettings:
    given = {"image_classifier_checkpoint": checkpoint, "video_path": str(video), "out_dir": tmp_path / "out"}
    return CandidateScanSettings(**{**given, "clip_seconds": 6, "cuda": False, **options})


def scan(tmp_path: Path, checkpoint: Path, video: Path | str, **options):
    lines: list[str] = []
    return scan_run(settings_of(tmp_path, checkpoint, video, **options), lines.append), lines


def damaged_copy(video: Path, target: Path, first: float, last: float) -> Path:
    """The video with the bytes of some seconds overwritten: packets lie in the file as they are shown."""
    with av.open(str(video)) as box:
        packets = [packet for packet in box.demux(video=0) if packet.size]
        inside = [packet for packet in packets if first <= float(packet.pts * packet.time_base) < last]
        begin, end = inside[0].pos, inside[-1].pos + inside[-1].size
    data = bytearray(video.read_bytes())
    data[begin:end] = bytes(end - begin)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


# ------------------------------------------------------------------ what is found


def test_a_scan_finds_the_actions_and_writes_tables_clips_scores_and_a_figure(tmp_path, checkpoint, video):
    scanned, lines = scan(tmp_path, checkpoint, video)
    found = [(item.label, item.start, item.end) for item in scanned.candidates]
    assert found == ACTIONS and all(0.9 < item.score <= 1 for item in scanned.candidates)
    out = tmp_path / "out"
    with (out / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["label", "youtube_id", "time_start", "time_end", "split", "score"]
    assert read_candidates(out / "candidates.csv") == [
        type(item)(item.label, item.youtube_id, item.start, item.end, round(item.score, 4))
        for item in scanned.candidates
    ]
    with np.load(out / "scores" / "aQ1-_bcdefg.npz") as held:
        assert held["times"].shape == (240,) and held["scores"].shape == (240, 4) and held["seconds"] == 60
        assert held["times"][:4].tolist() == pytest.approx([0, 0.4, 0.6, 0.8]) and held["classes"][0] == "blue"
        np.testing.assert_allclose(held["scores"].sum(axis=1), 1, atol=1e-5)
    assert (out / "scores" / "aQ1-_bcdefg.png").read_bytes().startswith(b"\x89PNG")
    assert not list((out / "scores").glob("*.part")) and (out / "failures.csv").read_text().count("\n") == 1
    assert lines[-2] == "3 candidates: blue 1, red 2"


def test_the_kits_own_kinetics_reader_takes_what_was_written(tmp_path, checkpoint, video):
    scan(tmp_path, checkpoint, video)
    assert dict(kinetics_rows(tmp_path / "out" / "candidates.csv"))["aQ1-_bcdefg_000024_000030"] == "blue"
    listed = load_dataset("kinetics", "candidates", tmp_path / "out")
    assert [(item.video_id, item.label) for item in listed.videos] == [
        (f"aQ1-_bcdefg_{start:06d}_{end:06d}", label) for label, start, end in ACTIONS
    ]
    for item in listed.videos:
        decoded = decode(item.path, lambda num_frames, fps: np.arange(num_frames)[None])
        assert decoded.info.num_frames == 30 and decoded.info.fps == pytest.approx(5)
        assert np.abs(decoded.frames.mean(axis=(0, 1, 2)) - COLORS[item.label]).max() < 12  # this colour throughout
        assert decoded.frames.std(axis=(0, 1, 2)).max() < 6


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"max_clips": 2}, [ACTIONS[1], ACTIONS[0]]),
        ({"clip_seconds": 8}, [(name, start - 1, end + 1) for name, start, end in ACTIONS]),
        ({"threshold": 1.0}, []),
    ],
)
def test_how_many_and_how_long(tmp_path, checkpoint, video, options, found):
    scanned, _ = scan(tmp_path, checkpoint, video, **options)
    assert {(item.label, item.start, item.end) for item in scanned.candidates} == set(found)
    assert len(list((tmp_path / "out" / "candidates").glob("*.mp4"))) == len(found)


def test_only_the_named_classes_are_looked_for(tmp_path, checkpoint, video):
    (tmp_path / "names.txt").write_text("Blue\n\n")
    scanned, _ = scan(tmp_path, checkpoint, video, class_names=tmp_path / "names.txt")
    assert [item.label for item in scanned.candidates] == ["blue"]
    (tmp_path / "names.txt").write_text("purple\n")
    with pytest.raises(UserError, match="unknown class of the classifier 'purple'"):
        scan(tmp_path, checkpoint, video, class_names=tmp_path / "names.txt")


def test_a_folder_is_scanned_and_names_become_ids_of_eleven_characters(tmp_path, checkpoint):
    for name, action in (("a/party", "green"), ("b/party", "red")):
        colored_video(tmp_path / "in" / f"{name}.mp4", 12, [(action, 3, 9)])
    (tmp_path / "in" / "notes.txt").write_text("no video")
    scanned, _ = scan(tmp_path, checkpoint, tmp_path / "in")
    assert [(item.label, item.start, item.end) for item in scanned.candidates] in (
        [("green", 3, 9), ("red", 3, 9)],
        [("red", 3, 9), ("green", 3, 9)],
    )
    ids = {item.youtube_id for item in scanned.candidates}
    assert len(ids) == 2 and all(len(item) == 11 and item.startswith("part") for item in ids)


def test_the_figure_has_a_row_a_class_and_no_line_where_nothing_was_seen():
    times = np.concatenate([np.arange(0, 10, 0.25), np.arange(20, 30, 0.25)])
    scores = np.random.default_rng(0).random((80, 2))
    wanted = {"run": [(1, 4), (22, 25)], "sit": []}
    figure = score_curves(times, scores, scores, ["run", "sit"], wanted, 0.5, [(9.75, 20)], {"sit": [(2, 6)]})
    first, second = figure.axes
    raw = first.lines[0]
    gap = np.isnan(raw.get_ydata())
    assert gap.sum() == 1 and raw.get_ydata()[gap.argmax() - 1] == scores[39, 0]
    assert len(first.collections[0].get_paths()) == 2 and len(second.collections[0].get_paths()) == 0
    assert second.get_xlim() == (0, 29.75) and second.get_xlabel() == "seconds"
    assert [patch.get_hatch() for patch in first.patches] == ["////"]


# ------------------------------------------------------------------ what goes wrong


def test_a_damaged_stretch_is_named_and_what_lies_behind_is_found(tmp_path, checkpoint, video):
    broken = damaged_copy(video, tmp_path / "broken12345.mp4", 20, 34)  # the blue seconds are lost
    scanned, lines = scan(tmp_path, checkpoint, broken)
    assert [(item.label, item.start, item.end) for item in scanned.candidates] == [ACTIONS[0], ACTIONS[2]]
    ((_, stretch),) = scanned.damaged
    assert stretch.start == pytest.approx(19.8, abs=0.5) and stretch.end == pytest.approx(34, abs=0.5)
    assert any("broken12345.mp4: 19.8–34.0 s skipped" in line for line in lines)
    with (tmp_path / "out" / "damaged.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["youtube_id"] == "broken12345" and float(row["start"]) == pytest.approx(stretch.start)


def test_one_unreadable_file_is_a_row_and_ends_nothing(tmp_path, checkpoint, video):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"no video at all")
    (tmp_path / "in" / "b.mp4").touch()
    (tmp_path / "in" / "c.mp4").symlink_to(video)
    scanned, _ = scan(tmp_path, checkpoint, tmp_path / "in")
    assert len(scanned.candidates) == 3
    with (tmp_path / "out" / "failures.csv").open() as file:
        rows = [(Path(row["path"]).name, row["stage"], row["reason"]) for row in csv.DictReader(file)]
    assert rows[0][:2] == ("a.mp4", "open") and rows[0][2].startswith("not a readable video")
    assert rows[1] == ("b.mp4", "open", "empty file") and len(rows) == 2
    with pytest.raises(UserError, match=r"none of 1 videos could be scanned, e\.g\. a\.mp4: not a readable video"):
        scan(tmp_path / "alone", checkpoint, tmp_path / "in" / "a.mp4")


def test_what_a_user_can_mend_is_one_line(tmp_path, checkpoint, video):
    with pytest.raises(UserError, match="no such file or folder"):
        scan(tmp_path, checkpoint, tmp_path / "gone.mp4")
    with pytest.raises(UserError, match="there is no image classifier"):
        scan(tmp_path, tmp_path / "gone.keras", video)
    for option, words in (({"clip_seconds": 0}, "--clip-seconds must be positive"), ({"threshold": 2}, "--threshold")):
        with pytest.raises(UserError, match=words):
            settings_of(tmp_path, checkpoint, video, **option)


# ------------------------------------------------------------------ again, and on


def test_another_choice_needs_no_scoring_and_leaves_no_clip_of_the_earlier_one(
    tmp_path, checkpoint, video, monkeypatch
):
    scan(tmp_path, checkpoint, video)
    monkeypatch.setattr("vidbench.candidates.scan.score_video", lambda *given: pytest.fail("scored again"))
    scanned, _ = scan(tmp_path, checkpoint, video, clip_seconds=4)
    names = sorted(path.stem for path in (tmp_path / "out" / "candidates").glob("*"))
    assert names == [item.key for item in scanned.candidates]
    for label, start, end in ACTIONS:
        inside = [item for item in scanned.candidates if start - 2 <= item.start and item.end <= end + 2]
        assert inside and all(item.label == label and item.end - item.start == 4 for item in inside)


def test_another_classifier_or_rate_is_refused_unless_overwritten(tmp_path, checkpoint, video):
    scan(tmp_path, checkpoint, video)
    with pytest.raises(UserError, match="holds a scan with another frames_per_second"):
        scan(tmp_path, checkpoint, video, frames_per_second=2)
    scan(tmp_path, checkpoint, video, frames_per_second=2, overwrite=True)
    assert read_scores(tmp_path / "out" / "scores" / "aQ1-_bcdefg.npz").scores.shape == (120, 4)


def test_a_changed_video_is_scored_anew(tmp_path, checkpoint, video):
    path = tmp_path / "v.mp4"
    colored_video(path, 20, [("red", 3, 9)])
    scan(tmp_path, checkpoint, path)
    colored_video(path, 21, [("green", 3, 9)])
    scanned, _ = scan(tmp_path, checkpoint, path)
    (found,) = scanned.candidates
    assert (found.label, found.start, found.end) == ("green", 3, 9)
    clip = decode(tmp_path / "out" / "candidates" / f"{found.key}.mp4", lambda num_frames, fps: np.zeros((1, 1), int))
    assert np.abs(clip.frames.mean(axis=(0, 1, 2)) - COLORS["green"]).max() < 12  # no clip of the earlier file


def test_a_scan_of_other_videos_does_not_take_the_place_of_one(tmp_path, checkpoint, video):
    scan(tmp_path, checkpoint, video)
    other = colored_video(tmp_path / "other.mp4", 12, [("red", 3, 9)])
    with pytest.raises(UserError, match=r"holds a scan of other videos \(aQ1-_bcdefg\)"):
        scan(tmp_path, checkpoint, other)
    assert len(read_candidates(tmp_path / "out" / "candidates.csv")) == 3
    scanned, _ = scan(tmp_path, checkpoint, other, overwrite=True)
    assert [item.label for item in scanned.candidates] == ["red"]
    assert len(list((tmp_path / "out" / "candidates").glob("*.mp4"))) == 1


KILLED = """
import os, signal, sys
from vidbench.candidates import scores
kept, left = scores.Growing.add_frames, [int(sys.argv[1])]
def add_frames(self, times, found):
    kept(self, times, found)
    left[0] -= 1
    if not left[0]:
        with self.path.open("ab") as file:
            file.write(b"half a row")
        os.kill(os.getpid(), signal.SIGKILL)
scores.Growing.add_frames = add_frames
sys.argv = sys.argv[2:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_killed_scan_goes_on_in_the_middle_of_a_video_to_the_same_result(tmp_path, checkpoint, video):
    path = damaged_copy(video, tmp_path / "broken12345.mp4", 20, 23)
    command = [str(ROOT / "scripts" / "candidates.py"), "scan", "--video-path", str(path), "--no-cuda"]
    command += [
        "--image-classifier-checkpoint",
        str(checkpoint),
        "--clip-seconds",
        "6",
        "--out-dir",
        str(tmp_path / "out"),
    ]
    killed = subprocess.run([sys.executable, "-c", KILLED, "5", *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    part = tmp_path / "out" / "scores" / "broken12345.part"
    before = part.read_bytes()
    assert not (tmp_path / "out" / "candidates.csv").exists() and before.endswith(b"half a row")
    seen = []
    original = Growing.add_frames
    try:
        Growing.add_frames = lambda self, times, found: (seen.extend(times), original(self, times, found))[1]
        scanned, _ = scan(tmp_path, checkpoint, path)
    finally:
        Growing.add_frames = original
    whole, _ = scan(tmp_path / "whole", checkpoint, path)
    assert 0 < len(seen) < len(whole.scores["broken12345"].times) and seen[0] > 23
    ours, wanted = scanned.scores["broken12345"], whole.scores["broken12345"]
    np.testing.assert_array_equal(ours.times, wanted.times)
    np.testing.assert_allclose(ours.scores, wanted.scores, atol=1e-6)
    assert ours.damaged == wanted.damaged and len(ours.damaged) == 1
    for name in ("candidates.csv", "damaged.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / "out" / name).read_text()


def test_half_rows_damage_at_the_end_and_rows_of_another_stamp_are_forgotten(tmp_path):
    place, stamp = tmp_path / "x.part", {"bytes": 1}
    with Growing(place, 2, stamp) as rows:
        rows.add_frames([0.0, 0.5], np.array([[0.1, 0.9], [0.2, 0.8]]))
        rows.add_damage(Damage(0.5, 3.0, "zerstört"))
        rows.add_frames([3.0], np.array([[0.5, 0.5]]))
        rows.add_damage(Damage(3.0, 9.0, "will be met again"))
    place.write_bytes(place.read_bytes() + b"12345")
    with Growing(place, 2, stamp) as rows:
        assert rows.last == 3.0
        rows.add_frames([9.0], np.array([[0.4, 0.6]]))
        found = rows.finished(9.5)
    assert found.times.tolist() == [0.0, 0.5, 3.0, 9.0] and found.damaged == (Damage(0.5, 3.0, "zerstört"),)
    assert found.scores.tolist() == [pytest.approx(row) for row in ([0.1, 0.9], [0.2, 0.8], [0.5, 0.5], [0.4, 0.6])]
    with Growing(place, 2, {"bytes": 2}) as rows:
        assert rows.last is None


# ------------------------------------------------------------------ cutting


def test_a_clip_holds_exactly_the_frames_of_its_seconds(tmp_path, video):
    cut_clip(video, 9, 13, tmp_path / "clip.mp4")
    found = decode(tmp_path / "clip.mp4", lambda num_frames, fps: np.arange(num_frames)[None])
    assert found.info.num_frames == 20 and found.times.tolist() == pytest.approx([index / 5 for index in range(20)])
    red = found.frames[..., 0].mean(axis=(1, 2)) > 128
    assert red.tolist() == [False] * 5 + [True] * 15  # red from second 10 on


def test_a_copied_clip_begins_at_a_key_frame_and_is_not_encoded_anew(tmp_path, video):
    cut_clip(video, 9, 13, tmp_path / "clip.mp4", copy=True)
    cut_clip(video, 0, 60, tmp_path / "all.mp4", copy=True)
    assert probe(tmp_path / "clip.mp4").num_frames == 20 and probe(tmp_path / "all.mp4").num_frames == 300
    with av.open(str(video)) as whole, av.open(str(tmp_path / "clip.mp4")) as clip:
        given = [bytes(packet) for packet in whole.demux(video=0) if packet.size]
        assert [bytes(packet) for packet in clip.demux(video=0) if packet.size] == given[45:65]


def test_a_part_behind_the_end_is_no_clip(tmp_path, video):
    with pytest.raises(DecodeError, match="no frames from 70 to 80 s"):
        cut_clip(video, 70, 80, tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()


def test_another_way_of_cutting_replaces_the_clips(tmp_path, checkpoint, video):
    scan(tmp_path, checkpoint, video)
    names = sorted((tmp_path / "out" / "candidates").glob("*.mp4"))
    sizes = [path.stat().st_size for path in names]
    scan(tmp_path, checkpoint, video, copy=True)
    assert [path.stat().st_size for path in names] != sizes
    assert json.loads((tmp_path / "out" / "scan.json").read_text())["copy"] is True


def test_the_command_ends_in_one_line_where_it_cannot_be_done(tmp_path, checkpoint):
    command = [sys.executable, str(ROOT / "scripts" / "candidates.py")]
    for words, status, line in (
        ([], 2, "COMMAND --help lists a command's flags"),
        (["scan", "--video-path", "x.mp4"], 1, "error: --image-classifier-checkpoint is needed"),
        (["train", "--data-dir", str(tmp_path), "--save-checkpoint", "x.h5"], 1, "error: --save-checkpoint must name"),
    ):
        done = subprocess.run(command + words, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == status and line in done.stderr and "Traceback" not in done.stderr
