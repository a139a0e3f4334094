import csv
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import drawn_scene, solid, write_video
from PIL import Image

from vidbench.arguments import CheckSettings
from vidbench.checking import check_run, list_splits, recording, summary
from vidbench.checking.sheet import wrapped
from vidbench.data.decode import decode
from vidbench.data.records import Video
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]


def put(folder: Path, place: str, seed: int, num_frames: int = 12, **options) -> Path:
    return write_video(folder / place, drawn_scene(seed, num_frames, 48, 64), **options)


def two_splits(folder: Path) -> Path:
    """`folder/{train,val}/{run,sit}`: three videos a class in train, two in val, all different."""
    seed = 0
    for split, count in (("train", 3), ("val", 2)):
        for label in ("run", "sit"):
            for number in range(count):
                put(folder, f"{split}/{label}/{number}.mkv", seed := seed + 1)
    return folder


def settings_of(tmp_path: Path, **options) -> CheckSettings:
    given = {"dataset": "folder", "data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache", "workers": 1}
    return CheckSettings(**{**given, "out_dir": tmp_path / "out", **options})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def findings(tmp_path: Path) -> dict[str, str]:
    """{split/video_id: what was found} of the videos with findings."""
    rows = table(tmp_path / "out" / "check.csv")
    return {f"{row['split']}/{row['video_id']}": row["findings"] for row in rows if row["findings"]}


# ------------------------------------------------------------------ what is found


def test_good_data_are_quiet_and_counted(tmp_path):
    two_splits(tmp_path / "data")
    check = check_run(settings_of(tmp_path, num_frames=12))
    assert findings(tmp_path) == {} and check.doubles == [] and check.shared == {}
    rows = table(tmp_path / "out" / "check.csv")
    assert [row["video_id"] for row in rows[:4]] == ["run/0.mkv", "run/1.mkv", "run/2.mkv", "sit/0.mkv"]
    facts = ("split", "label", "status", "reason", "frames", "fps", "width", "height", "seconds")
    assert [rows[9][name] for name in facts] == ["val", "sit", "ok", "", "12", "10", "64", "48", "1.2"]
    assert table(tmp_path / "out" / "pairs.csv") == []
    assert table(tmp_path / "out" / "classes.csv") == [
        {"label": "run", "train": "3", "val": "2"},
        {"label": "sit", "train": "3", "val": "2"},
    ]
    text = summary(check)
    assert "train          6        2  3 to 3" in text and "val            4        2  2 to 2" in text
    assert "nothing was found" in text and "no split test" in text
    assert (tmp_path / "out" / "summary.txt").read_text() == text + "\n"


def test_classes_that_a_split_lacks_and_videos_without_a_label(tmp_path):
    data = two_splits(tmp_path / "data")
    shutil.rmtree(data / "val" / "sit")
    put(data, "val/loose.mkv", 30)
    text = summary(check_run(settings_of(tmp_path)))
    assert "classes that val lacks: sit\n" in text and "without a label: 1\n" in text
    assert table(tmp_path / "out" / "classes.csv")[1] == {"label": "sit", "train": "3", "val": "0"}


def test_data_of_which_nothing_can_be_read_are_checked_too(tmp_path):
    for name in ("train/run/a.mp4", "val/run/b.mp4"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_text(f"no video {name}")
    text = summary(check_run(settings_of(tmp_path)))
    assert "no video can be read" in text and "unreadable: 2\n" in text
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 0


def test_what_is_wrong_with_a_video_by_itself(tmp_path):
    data = two_splits(tmp_path / "data")
    still = np.repeat(drawn_scene(40, 1, 48, 64), 12, axis=0)
    write_video(data / "train/run/still.mkv", still)
    write_video(data / "train/run/black.mkv", solid((2, 2, 2), 12, 48, 64))
    write_video(data / "train/run/blue.mkv", solid((0, 60, 250), 12, 48, 64))
    put(data, "train/run/one.mkv", 41, num_frames=1)
    put(data, "val/sit/short.mkv", 42, num_frames=7)
    (data / "val/sit/bad.mp4").write_text("no video")
    (data / "val/sit/empty.mp4").touch()
    (data / "val/sit/gone.mp4").symlink_to("nowhere.mp4")
    check = check_run(settings_of(tmp_path, num_frames=8))
    assert findings(tmp_path) == {
        "train/run/still.mkv": "frozen: nothing moves",
        "train/run/black.mkv": "black: 100% of its frames are",
        "train/run/blue.mkv": "one colour: 100% of its frames are",
        "train/run/one.mkv": (
            "too short: 1 frames, --num-frames 8 takes 8; one frame; odd length: 0.1 s, usual is 1.2 s"
        ),
        "val/sit/short.mkv": "too short: 7 frames, --num-frames 8 takes 8",
        "val/sit/bad.mp4": "unreadable: not a readable video: invalid data found when processing input",
        "val/sit/empty.mp4": "unreadable: empty file",
        "val/sit/gone.mp4": "missing",
    }
    rows = {row["video_id"]: row for row in table(tmp_path / "out" / "check.csv")}
    assert [rows[f"sit/{name}.mp4"]["status"] for name in ("bad", "empty", "gone")] == [
        "unreadable", "unreadable", "missing",
    ]  # fmt: skip
    assert rows["sit/empty.mp4"]["reason"] == "empty file" and rows["sit/empty.mp4"]["frames"] == ""
    assert "unreadable: 2\n" in summary(check) and "too short: 2\n" in summary(check)


def test_odd_rates_sizes_shapes_and_lengths(tmp_path):
    data = two_splits(tmp_path / "data")
    put(data, "train/run/slow.mkv", 50, fps=6)  # 12 frames in 2 s, usual is 10 a second
    put(data, "train/run/near.mkv", 51, fps=8)
    write_video(data / "train/run/large.mkv", drawn_scene(52, 12, 96, 128))
    write_video(data / "train/run/upright.mkv", drawn_scene(53, 12, 64, 48))
    write_video(data / "train/run/narrow.mkv", drawn_scene(54, 12, 96, 60))
    put(data, "train/run/long.mkv", 55, num_frames=60)
    check_run(settings_of(tmp_path))
    assert findings(tmp_path) == {
        "train/run/slow.mkv": "odd rate: 6 frames a second, usual is 10 frames a second",
        "train/run/large.mkv": "odd size: 128×96, usual is 64×48",
        "train/run/narrow.mkv": "odd shape: 60×96, usual is 64×48",
        "train/run/long.mkv": "odd length: 6 s, usual is 1.2 s",
    }


def test_doubles_across_splits_under_other_labels_and_within_a_split(tmp_path):
    data = two_splits(tmp_path / "data")
    shutil.copy(data / "train/run/0.mkv", data / "val/run/same.mkv")
    mirrored = np.ascontiguousarray(drawn_scene(2, 12, 48, 64)[:, :, ::-1])
    write_video(data / "train/sit/mirrored.mp4", mirrored, codec="libx264", crf="23")
    write_video(data / "train/sit/again.mkv", drawn_scene(4, 12, 48, 64)[2:])
    check = check_run(settings_of(tmp_path))
    rows = table(tmp_path / "out" / "pairs.csv")
    assert [tuple(row.values())[:7] for row in rows] == [
        ("run/0.mkv", "run/same.mkv", "train", "val", "run", "run", "exact"),
        ("run/1.mkv", "sit/mirrored.mp4", "train", "train", "run", "sit", "mirrored"),
        ("sit/0.mkv", "sit/again.mkv", "train", "train", "sit", "sit", "near"),
    ]
    assert all(float(row["overlap"]) >= 0.8 for row in rows)
    assert findings(tmp_path) == {
        "train/run/0.mkv": "the same file as val/run/same.mkv",
        "val/run/same.mkv": "the same file as train/run/0.mkv",
        "train/run/1.mkv": "mirrored double of train/sit/mirrored.mp4",
        "train/sit/mirrored.mp4": "mirrored double of train/run/1.mkv",
        "train/sit/0.mkv": "near double of train/sit/again.mkv",
        "train/sit/again.mkv": "near double of train/sit/0.mkv",
    }
    for title in ("doubles across splits: 1", "doubles under another label: 1", "doubles within a split: 1"):
        assert title in summary(check)


def test_groups_in_two_splits_by_names_and_by_tables(tmp_path):
    data = two_splits(tmp_path / "data")
    put(data, "train/run/v_Run_g01_c01.mkv", 60)
    put(data, "val/run/v_Run_g01_c02.mkv", 61)
    put(data, "train/run/v_Run_g02_c01.mkv", 62)
    check = check_run(settings_of(tmp_path))
    assert findings(tmp_path) == {
        "train/run/v_Run_g01_c01.mkv": "group 'Run_g01' is in val too",
        "val/run/v_Run_g01_c02.mkv": "group 'Run_g01' is in train too",
    }
    told = "Run_g01: train/run/v_Run_g01_c01.mkv, val/run/v_Run_g01_c02.mkv"
    assert f"groups in two splits: 1\n  {told}\n" in summary(check)
    rows = "a.mkv,x,anna,train\nb.mkv,x,anna,val\nc.mkv,x,bob,val\n"
    (tmp_path / "t.csv").write_text("path,label,group,split\n" + rows)
    check = check_run(settings_of(tmp_path, dataset="csv", data_dir=None, csv=tmp_path / "t.csv"))
    assert list(check.shared) == ["anna"]


def test_the_recording_of_a_video():
    assert recording(Video("a", None, "x", group="g")) == "g"
    assert recording(Video("x/RATRACE_x_f_nm_np1_fr_goo_37.avi", None, "x")) == "RATRACE"
    assert recording(Video("a.mkv#0-2", Path("a.mkv"), "x", end_seconds=2.0)) == "a.mkv"
    assert recording(Video("a.mkv", Path("a.mkv"), "x")) is None and recording(Video("a", None)) is None


def test_a_model_says_how_long_a_video_must_be(tmp_path, color_model):
    data = two_splits(tmp_path / "data")
    put(data, "val/run/short.mkv", 70, num_frames=3)
    check_run(settings_of(tmp_path, model=str(color_model), classes=("run",), splits=("val",)))
    assert findings(tmp_path) == {"val/run/short.mkv": f"too short: 3 frames, {color_model} takes 4"}
    check_run(settings_of(tmp_path, model="x3d_xs", num_videos=1))  # 4 frames, one of 12, at 30 a second: 16 of 10
    assert set(findings(tmp_path).values()) == {"too short: 12 frames, x3d_xs takes 16"}


# ------------------------------------------------------------------ which videos


def test_data_that_are_not_split_are_one_split(tmp_path):
    put(tmp_path / "data", "run/a.mkv", 1)
    put(tmp_path / "data", "sit/b.mkv", 2)
    splits, notes = list_splits(settings_of(tmp_path))
    assert {name: len(videos) for name, videos in splits.items()} == {"all": 2} and "not split" in notes[0]
    with pytest.raises(UserError, match="is not split here: leave out --splits"):
        list_splits(settings_of(tmp_path, splits=("train", "val")))


def test_tables_folders_of_frames_and_annotations(tmp_path):
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number, frame in enumerate(drawn_scene(ord(name), 6, 48, 64)):
            cv2.imwrite(str(data / name / f"{number}.jpg"), frame)
    (data / "gt.csv").write_text("folder_name,label,split\na,run,dev\nb,sit,holdout\n")
    settings = settings_of(tmp_path, dataset="frames", splits=("dev", "holdout"), frames_fps=6.0)
    check = check_run(settings)
    assert [one.name for one in check.videos] == ["dev/a", "holdout/b"] and check.videos[0].looks.info.fps == 6
    with pytest.raises(UserError, match=r"it has dev, holdout: choose one of them$"):
        list_splits(settings_of(tmp_path, dataset="frames"))
    (tmp_path / "same.csv").write_text("path,label,split\ndata/a,run,train\ndata/a,run,val\n")
    check = check_run(settings_of(tmp_path, dataset="csv", data_dir=None, csv=tmp_path / "same.csv"))
    assert [(pair.kind, pair.overlap) for pair in check.doubles] == [("near", 1.0)]


def test_the_test_list_of_ucf101_is_checked_once_and_a_bare_kinetics_folder_too(tmp_path):
    data = tmp_path / "data"
    for name, group in (("trainlist01", "g08"), ("testlist01", "g01")):
        (data / "lists").mkdir(parents=True, exist_ok=True)
        (data / "lists" / f"{name}.txt").write_text(f"Run/v_Run_{group}_c01.avi\n")
    splits, notes = list_splits(settings_of(tmp_path, dataset="ucf101"))
    assert list(splits) == ["train", "val"] and "test lists the videos of val: checked as val" in notes
    clips = tmp_path / "clips"
    put(clips, "abcdefghijk_000001_000011.mp4", 1, codec="libx264")
    (clips / "val.csv").write_text("label,youtube_id,time_start,time_end,split\nclapping,abcdefghijk,1,11,val\n")
    splits, _ = list_splits(settings_of(tmp_path, dataset="kinetics", data_dir=clips))
    assert [(name, len(videos)) for name, videos in splits.items()] == [("val", 1)]


# ------------------------------------------------------------------ what is written


def test_a_check_is_replaced_and_other_folders_are_refused(tmp_path):
    data = two_splits(tmp_path / "data")
    settings = settings_of(tmp_path)
    check_run(settings)
    (data / "val/run/0.mkv").write_text("no video")
    check_run(settings)
    assert list(findings(tmp_path)) == ["val/run/0.mkv"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    for name, message in (("mine", r"holds no check of vidbench but 'notes\.txt'"), ("mine/notes.txt", "is no folder")):
        with pytest.raises(UserError, match=message):
            check_run(settings_of(tmp_path, out_dir=tmp_path / name))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_sheet_shows_both_videos_of_a_pair(tmp_path):
    data = two_splits(tmp_path / "data")
    for place in ("train/run/red.mkv", "val/run/red.mkv"):
        write_video(data / place, solid((250, 0, 0), 12, 48, 64))
    check_run(settings_of(tmp_path))
    page = np.asarray(Image.open(tmp_path / "out" / "sheet.png").convert("RGB")).astype(int)
    red = (page[..., 0] > 230) & (page[..., 1:] < 20).all(axis=-1)
    half = page.shape[1] // 2
    assert red[:, :half].sum() > 30_000 and red[:, half:].sum() > 30_000  # of 4 × 128 × 96 pixels


def test_captions_are_wrapped_to_two_lines():
    from vidbench.checking.sheet import _font

    font = _font(12)
    assert wrapped("short", font, 200) == ["short"]
    lines = wrapped("a very long name " * 20 + "end.mkv", font, 200)
    assert len(lines) == 2 and all(font.getlength(line) <= 200 for line in lines)
    assert lines[1].startswith("…") and lines[1].endswith("end.mkv")


# ------------------------------------------------------------------ the command


def command(*words) -> subprocess.CompletedProcess:
    line = [sys.executable, "scripts/check.py", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_the_summary_and_findings_are_no_errors(tmp_path):
    data = tmp_path / "data ü"
    put(data, "val/Lauf ☃/ein Clip.mkv", 1)
    (data / "val/Lauf ☃/kaputt.mp4").write_text("no video")
    words = ("--dataset", "folder", "--data-dir", data, "--out-dir", tmp_path / "out", "--no-cache", "--workers", 1)
    for _ in range(2):
        done = command(*words)
        assert done.returncode == 0, done.stderr
        assert "val/Lauf ☃/kaputt.mp4  unreadable: not a readable video" in done.stdout
        assert f"written to {tmp_path / 'out'}: check.csv" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset folder --data-dir {root}/nowhere", "error: dataset folder: no such folder: {root}/nowhere"),
        ("--dataset folder --data-dir {root}", "error: dataset folder: no videos in split 'val' of {root}"),
        ("--dataset fodler", "error: unknown dataset 'fodler'; did you mean 'folder'?"),
        ("--frame-rate 5", "error: --frame-rate goes with --model or --num-frames"),
        ("--splits train", "has no split 'train'"),
        ("--num-frames 0", "error: --num-frames must be positive, got 0"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_status_1(tmp_path, words, message):
    done = command(*words.replace("{root}", str(tmp_path)).split(), "--out-dir", tmp_path / "out")
    assert done.returncode == 1 and message.replace("{root}", str(tmp_path)) in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "" and not (tmp_path / "out").exists()


# ------------------------------------------------------------------ real clips


def encode(path: Path, frames: np.ndarray, crf: int) -> None:
    write_video(path, np.ascontiguousarray(frames), fps=30, codec="libx264", crf=str(crf), preset="veryfast")


def frames_of(path: Path) -> np.ndarray:
    return decode(path, lambda num_frames, fps: np.arange(num_frames)[None]).frames


@pytest.mark.assets
def test_planted_copies_and_a_moved_group_are_all_named_and_the_set_as_it_is_is_right(assets, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(assets / "jhmdb8", data, copy_function=shutil.copyfile)
    check = check_run(settings_of(tmp_path, workers=2))
    assert check.shared == {} and len(check.videos) == 128
    pairs = {check.videos[pair.first].video.video_id.split("_shoot")[0].split("___")[0] for pair in check.doubles}
    assert pairs == {"shoot_bow/Hannahfront23may08", "climb_stairs/Micah_Lacerte_Running_Stairs"}  # each one recording
    assert len(check.doubles) == 2 and all(row.startswith("near double") for row in findings(tmp_path).values())

    first = {
        label: sorted((data / "train" / label).iterdir())[0] for label in ("clap", "golf", "pour", "pullup", "catch")
    }
    shutil.copyfile(first["golf"], data / "val/golf/exact.avi")
    clap = np.stack([cv2.resize(frame, (160, 120)) for frame in frames_of(first["clap"])])
    encode(data / "val/clap/reencoded.mp4", clap, 32)
    encode(data / "val/pour/mirrored.mp4", frames_of(first["pour"])[:, :, ::-1], 23)
    encode(data / "val/pullup/trimmed.mp4", frames_of(first["pullup"])[12:], 23)
    catch = frames_of(first["catch"])
    encode(data / "val/catch/both.mp4", catch[: len(catch) * 2 // 3, :, ::-1], 30)
    moved = next((data / "train" / "climb_stairs").glob("Walking_up_the_stairs*_1.avi"))
    moved.rename(data / "val" / "climb_stairs" / moved.name)
    check = check_run(settings_of(tmp_path, workers=2))
    planted = {
        (a.video.path, b.video.path.name, pair.kind) for a, b, pair in check.pairs_of_kind("double across splits")
    }
    assert planted == {
        (first["golf"], "exact.avi", "exact"),
        (first["clap"], "reencoded.mp4", "near"),
        (first["pour"], "mirrored.mp4", "mirrored"),
        (first["pullup"], "trimmed.mp4", "near"),
        (first["catch"], "both.mp4", "mirrored"),
    }
    assert list(check.shared) == ["Walking_up_the_stairs"] and len(check.doubles) == 7


@pytest.mark.assets
def test_awkward_files_are_each_a_row(assets, tmp_path):
    (tmp_path / "data" / "val").mkdir(parents=True)
    (tmp_path / "data" / "val" / "odd").symlink_to(assets / "awkward")
    check = check_run(settings_of(tmp_path, workers=2))
    assert len(check.videos) == 26
    bad = {one.video.path.name: one.failure.reason for one in check.of_kind("unreadable")}
    assert set(bad) == {"corrupted.mp4", "nasa_13013.mp4.audio.mp3", "result.webm"}
    assert [one.video.path.name for one in check.of_kind("black")] == ["no_duration.webm"]
