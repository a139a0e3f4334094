import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COLORS, drawn_scene, solid, write_video
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vidbench.arguments import SplitSettings
from vidbench.commands import as_argfile, parse_settings
from vidbench.data.datasets import load_dataset
from vidbench.data.looks import look
from vidbench.data.records import Video
from vidbench.data.splitting import (
    copies,
    joined_by_looks,
    known_group,
    split_folder,
    split_table,
    split_videos,
    videos_below,
    with_groups,
)
from vidbench.utils import UserError

ROOT = Path(__file__).parents[1]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def two_classes(folder: Path, count: int = 10) -> Path:
    return touch(folder, *(f"{label}/{n}.mp4" for label in ("run", "sit") for n in range(count)))


def splits_of(videos) -> dict[str, str]:
    return {video.video_id: video.split for video in videos}


@st.composite
def labelled(draw):
    """Videos of one to four classes, each in three groups or more of one to four."""
    shape = st.lists(st.integers(1, 4), min_size=3, max_size=12)
    rows = draw(st.lists(shape, min_size=1, max_size=4))
    return [
        Video(f"c{c}/g{g}_{n}.mp4", None, f"c{c}", group=f"c{c}g{g}" if size > 1 else None)
        for c, sizes in enumerate(rows)
        for g, size in enumerate(sizes)
        for n in range(size)
    ]


# ------------------------------------------------------------------ the split


@settings(deadline=None, max_examples=50)
@given(labelled(), st.sampled_from([(80, 10, 10), (2, 1), (0.5, 0, 0.5), (1, 1, 1)]), st.integers(0, 9), st.randoms())
def test_each_video_has_one_split_groups_stay_whole_and_classes_are_everywhere(videos, ratios, seed, random):
    done = split_videos(videos, ratios, seed)
    assert [replace(video, split=None) for video in done] == videos
    names = {name for name, ratio in zip(("train", "val", "test"), ratios, strict=False) if ratio}
    groups, classes = defaultdict(set), defaultdict(set)
    for video in done:
        groups[video.group or video.video_id].add(video.split)
        classes[video.label].add(video.split)
    assert all(len(splits) == 1 for splits in groups.values()) and all(splits == names for splits in classes.values())
    shuffled = random.sample(videos, len(videos))
    assert splits_of(split_videos(shuffled, ratios, seed)) == splits_of(done)


def test_a_split_is_the_same_everywhere_and_another_seed_gives_another():
    videos = [Video(f"{label}/{n}.mp4", None, label) for label in ("run", "sit") for n in range(20)]
    seeds = [splits_of(split_videos(videos, seed=seed)) for seed in range(4)]
    assert len({tuple(sorted(split.items())) for split in seeds}) == 4
    val = [video for video, split in seeds[0].items() if split == "val"]
    assert val == ["run/0.mp4", "run/16.mp4", "sit/7.mp4", "sit/11.mp4"]  # as on the machine where this was written


def test_ratios_are_what_they_are_whatever_their_sum():
    videos = [Video(f"run/{n}.mp4", None, "run") for n in range(20)]
    same = [splits_of(split_videos(videos, ratios)) for ratios in ((80, 10, 10), (8, 1, 1), (0.8, 0.1, 0.1))]
    assert same[0] == same[1] == same[2]
    assert set(splits_of(split_videos(videos, (0, 0, 3))).values()) == {"test"}


def test_classes_that_are_too_small_are_named_with_their_counts():
    videos = [
        Video(f"{label}/{n}.mp4", None, label, group=f"{label}{n % 2}") for label in ("run", "sit") for n in range(5)
    ]
    videos += [Video(f"wave/{n}.mp4", None, "wave") for n in range(3)]
    message = "each class needs 3 groups, one a split, and 'run' has 2 (videos: 5), 'sit' has 2 (videos: 5)"
    with pytest.raises(UserError, match=re.escape(message) + "$"):
        split_videos(videos)
    assert len(split_videos(videos, (80, 20))) == 13


def test_groups_of_several_classes_that_cannot_be_parted_are_an_error():
    pairs = (("a", "ab"), ("b", "ab"), ("a", "ac"), ("c", "ac"), ("b", "bc"), ("c", "bc"))
    videos = [Video(f"{label}/{group}", None, label, group=group) for label, group in pairs]
    with pytest.raises(UserError, match=r"no split was found that has '.' in (train|val) too and cuts no group"):
        split_videos(videos, (1, 1))


# ------------------------------------------------------------------ groups


def test_groups_by_a_regular_expression():
    videos = [Video("run/anna_1.mp4", None, "run"), Video("sit/bob_2.mp4", None, "sit")]
    assert [video.group for video in with_groups(videos, r"/([a-z]+)_")] == ["anna", "bob"]
    assert [video.group for video in with_groups(videos, r"\w+_")] == ["anna_", "bob_"]
    for pattern, count in ((r"anna", 1), (r"(x)?", 2), (r"(x)|bob", 2)):
        with pytest.raises(UserError, match=f"finds nothing in {count} of 2 paths"):
            with_groups(videos, pattern)


@pytest.mark.parametrize(
    ("name", "label", "group"),
    [
        ("v_Archery_g01_c02.avi", "anything", "Archery_g01"),
        ("v_Archery_g01_c02", "frames of it", "Archery_g01"),
        ("RATRACE_wave_f_nm_np1_fr_goo_37.avi", "wave", "RATRACE"),
        ("a_wave_b_wave_h_cm_np2_le_bad_1.avi", "wave", "a_wave_b"),
        ("RATRACE_wave_f_nm_np1_fr_goo_37.avi", "walk", None),
        ("a-b_c-d_e-f_000005_000015.mp4", "abseiling", "a-b_c-d_e-f"),
        ("holiday.mp4", "run", None),
    ],
)
def test_names_that_tell_the_recording(name, label, group):
    assert known_group(name, label) == group


@pytest.mark.assets
def test_clips_of_one_source_stay_together(assets):
    videos = with_groups(videos_below(assets / "jhmdb8" / "train"))
    assert len(videos) == 96 and all(video.group for video in videos)
    done = split_videos(videos, (80, 20))
    assert {video.split for video in done} == {"train", "val"}
    assert len({(video.group, video.split) for video in done}) == len({video.group for video in done})


def scenes(root: Path) -> Path:
    """Two classes of four different videos, and copies of two of them."""
    for number in range(8):
        write_video(root / ("run" if number < 4 else "sit") / f"{number}.mkv", drawn_scene(number, 12, 48, 64))
    mirrored = np.ascontiguousarray(drawn_scene(1, 12, 48, 64)[:, :, ::-1])
    write_video(root / "run" / "mirrored.mp4", mirrored, codec="libx264", crf="23")
    write_video(root / "sit" / "trimmed.mkv", drawn_scene(5, 12, 48, 64)[3:])
    (root / "sit" / "exact.mkv").write_bytes((root / "sit" / "5.mkv").read_bytes())
    return root


def test_group_by_auto_keeps_copies_together(tmp_path, caplog):
    root = scenes(tmp_path / "data")
    (root / "sit" / "bad.mp4").write_text("no video")
    options = {"ratios": (1, 1), "group_by": "auto", "cache_dir": tmp_path / "cache", "workers": 1}
    for seed in range(3):
        done = split_folder(root, tmp_path / "out", seed=seed, overwrite=True, **options)
        assert {video.video_id: video.group for video in done if video.group} == {
            "run/1.mkv": "run/1.mkv",
            "run/mirrored.mp4": "run/1.mkv",
            "sit/5.mkv": "sit/5.mkv",
            "sit/exact.mkv": "sit/5.mkv",
            "sit/trimmed.mkv": "sit/5.mkv",
        }
        where = splits_of(done)
        assert where["run/1.mkv"] == where["run/mirrored.mp4"]
        assert where["sit/5.mkv"] == where["sit/exact.mkv"] == where["sit/trimmed.mkv"]
    assert "1 of 12 videos cannot be read and are grouped by name alone, e.g. sit/bad.mp4" in caplog.text
    assert json.loads((tmp_path / "out" / "annotations.json").read_text())["group_by"] == "auto"
    with pytest.raises(UserError, match=r"holds annotations\.json and train\.csv"):
        split_folder(root, tmp_path / "out", **options)


def test_group_by_auto_joins_what_names_and_looks_tell(tmp_path):
    files = {"v_Run_g01_c01": 1, "v_Run_g01_c02": 2, "v_Run_g02_c01": 2, "v_Run_g03_c01": 3, "other": 1, "alone": 4}
    for name, seed in files.items():
        write_video(tmp_path / "Run" / f"{name}.mkv", drawn_scene(seed, 12, 48, 64))
    videos = videos_below(tmp_path)
    joined = joined_by_looks(with_groups(videos), [look(video) for video in videos])
    assert {Path(video.video_id).stem: video.group for video in joined} == {
        "v_Run_g01_c01": "Run_g01", "v_Run_g01_c02": "Run_g01", "v_Run_g02_c01": "Run_g01", "other": "Run_g01",
        "v_Run_g03_c01": "Run_g03", "alone": None,
    }  # fmt: skip


def test_group_by_auto_takes_folders_of_frames(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 3), ("d", 2)):
        (tmp_path / "run" / name).mkdir(parents=True)
        for number, frame in enumerate(drawn_scene(seed, 6, 48, 64)):
            Image.fromarray(frame).save(tmp_path / "run" / name / f"{number}.png")
    done = split_folder(tmp_path, tmp_path / "out", ratios=(1, 1), group_by="auto", workers=1)
    assert [video.group for video in done] == [None, "run/b", None, "run/b"]


# ------------------------------------------------------------------ what is listed


def test_class_folders_of_videos_and_of_frames(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/deep/b.avi", "sit/clip/0.jpg", "sit/clip/1.jpg", "sit/.x.mp4", "notes.txt")
    videos = videos_below(tmp_path)
    assert [video.video_id for video in videos] == ["run/a.mp4", "run/deep/b.avi", "sit/clip"]
    assert [video.label for video in videos] == ["run", "run", "sit"] and videos[2].path == tmp_path / "sit" / "clip"


def test_folders_of_frames_with_a_table(tmp_path, caplog):
    touch(tmp_path, *(f"images/{n}/0.jpg" for n in range(5)))
    rows = "".join(f"id{n},{n},run\n" for n in range(6))
    (tmp_path / "gt.csv").write_text("youtube_id,folder_name,label\n" + rows)
    videos = videos_below(tmp_path, tmp_path / "gt.csv")
    assert [video.video_id for video in videos] == ["5", *(f"images/{n}" for n in range(5))]
    assert "1 of 6 folders of" in caplog.text and {video.label for video in videos} == {"run"}


@pytest.mark.parametrize(
    ("names", "table", "message"),
    [
        (
            ["train/run/a.mp4", "val/run/a.mp4"],
            None,
            r"is split already \(train, val\): name a folder of class folders",
        ),
        (["run/a.mp4", "b.mp4"], None, r"1 of 2 videos have no class, e.g. 'b.mp4': wanted .*/<class>/<video>"),
        (["run/0.jpg"], None, "videos have no class, e.g. 'run'"),
        (["notes.txt"], None, "no videos in"),
        (["run/ a .mp4", "run /b.mp4"], None, "a table cannot hold this name, rename it: 'run ' 'run /b.mp4'"),
        (["run/a\r.mp4"], None, "a table cannot hold this name"),
        ([os.fsdecode(b"run/a\xff.mp4")], None, "a table cannot hold this name"),
        (["c/0.jpg"], "folder_name,label,split\nc,run,val\n", "gt.csv is split already, by its column split"),
        (["c/0.jpg"], "folder_name,label\nc,\n", "1 of 1 videos have no class, e.g. 'c': wanted a label for each row"),
        (["c/0.jpg"], "folder_name\nc\n", "gt.csv lacks the column label"),
        (["c/0.jpg"], "folder_name,label\n/c,run\n", "gt.csv: /c does not lie below"),
        (["c/0.jpg"], "youtube_id,folder_name,label\nA,c,run\nB,c,sit\n", "gt.csv: the folder c stands twice"),
    ],
)
def test_folders_that_cannot_be_split(tmp_path, names, table, message):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if table:
        (tmp_path / "gt.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        videos_below(tmp_path, tmp_path / "gt.csv" if table else None)


def test_a_root_that_is_no_folder(tmp_path):
    for root in (tmp_path / "nowhere", touch(tmp_path, "file") / "file"):
        with pytest.raises(UserError, match=f"no such folder: {root}"):
            videos_below(root)


# ------------------------------------------------------------------ copies


def test_copies_are_found_and_warned_of(tmp_path, caplog):
    two_classes(tmp_path, 4)
    (tmp_path / "sit" / "copy.mp4").write_bytes((tmp_path / "run" / "0.mp4").read_bytes())
    for name in ("run/none.mp4", "sit/none.mp4"):  # empty files are no copies of each other
        (tmp_path / name).touch()
    (same,) = copies(videos_below(tmp_path))
    assert [video.video_id for video in same] == ["run/0.mp4", "sit/copy.mp4"]
    split_folder(tmp_path, tmp_path / "out", ratios=(1, 0))
    assert "the same file stands under different labels, 1 times: run/0.mp4 = sit/copy.mp4" in caplog.text
    assert "in two splits" not in caplog.text


def test_copies_in_two_splits_are_warned_of(tmp_path, caplog):
    for n in range(4):
        (touch(tmp_path, "run/x") / "run" / f"{n}.mp4").write_text("all the same")
    split_folder(tmp_path, tmp_path / "out", ratios=(1, 1))
    assert "in two splits, 1 times: run/0.mp4 = run/1.mp4 = run/2.mp4" in caplog.text
    assert "different labels" not in caplog.text


# ------------------------------------------------------------------ what is written, and read again


@pytest.mark.parametrize("place", ["data", "elsewhere/deep"])
def test_what_is_written_is_read_again(tmp_path, place):
    root, out = two_classes(tmp_path / "data"), tmp_path / place
    touch(root, "sit/frames, of 1/0.jpg")
    done = split_folder(root, out, ratios=(60, 20, 20), seed=3, group_by=r"[^/]+$")
    assert len(done) == 21
    for split in ("train", "val", "test"):
        wanted = sorted((v.path.resolve(), v.label, v.group, split) for v in done if v.split == split)
        annotated = load_dataset("annotations", split, annotations=out / "annotations.json")
        table = load_dataset("csv", split, csv_path=out / f"{split}.csv")
        for found in (annotated, table):
            assert sorted((v.path.resolve(), v.label, v.group, v.split) for v in found.videos) == wanted
        assert {v.video_id for v in annotated.videos} == {v.video_id for v in done if v.split == split}
        assert annotated.classes == ("run", "sit")
    record = json.loads((out / "annotations.json").read_text())
    assert (record["schema"], record["seed"], record["ratios"], record["group_by"]) == (1, 3, [60, 20, 20], "[^/]+$")
    assert not Path(record["root"]).is_absolute() and (out / record["root"]).resolve() == root.resolve()


def test_earlier_files_and_other_tables_are_not_overwritten(tmp_path):
    root = two_classes(tmp_path)
    (root / "val.csv").write_text("mine")
    with pytest.raises(UserError, match=r"holds val\.csv already: choose another --out, or --overwrite"):
        split_folder(root, root)
    assert (root / "val.csv").read_text() == "mine" and not (root / "annotations.json").exists()
    split_folder(root, root, overwrite=True)
    split_folder(root, root, ratios=(80, 20), overwrite=True)
    assert (root / "test.csv").read_text() == "path,label,group,split\n"
    (root / "train.csv").write_text("folder_name,label\n")
    with pytest.raises(UserError, match=r"train\.csv would be overwritten"):
        split_folder(root, root, gt_csv=root / "train.csv", overwrite=True)


def test_the_table_says_what_each_split_holds():
    videos = [Video(f"run/{n}", None, "run", "train", group="x") for n in range(6)]
    videos += [Video(f"sit/{n}", None, "sit", "train") for n in range(2)]
    videos += [Video("run/9", None, "run", "test"), Video("sit/9", None, "sit", "test")]
    lines = [line.split() for line in split_table(videos).splitlines()]
    assert lines[1:] == [
        ["train", "8", "80.0%", "3", "2", "2", "to", "6"],
        ["test", "2", "20.0%", "2", "2", "1", "to", "1"],
    ]


# ------------------------------------------------------------------ the command


def command(*words) -> subprocess.CompletedProcess:
    line = [sys.executable, "scripts/split.py", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_the_table(tmp_path):
    root = two_classes(tmp_path)
    (tmp_path / "split.txt").write_text(f"--root {root}  # mine\n--ratios 60 20 20 --seed 1\n")
    done = command(f"@{tmp_path / 'split.txt'}")
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:4]] == [
        ["train", "12"],
        ["val", "4"],
        ["test", "4"],
    ]
    assert f"written to {root}: annotations.json" in done.stdout
    again = command("--root", root, "--ratios", "60", "20", "20", "--seed", "1", "--out", tmp_path / "b")
    assert again.returncode == 0
    first, second = (json.loads((place / "annotations.json").read_text()) for place in (root, tmp_path / "b"))
    assert first["videos"] == second["videos"] and second["root"] == ".."


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--root {root} --ratios 80", 1, "error: --ratios: wanted two or three numbers such as 80 10 10"),
        ("--root {root} --group-by (", 1, "error: --group-by '(' is no regular expression: missing )"),
        ("--root {root} --ratios 1 1 --group-by /", 1, "error: too small to split: each class needs 2 groups"),
        ("--root /nowhere", 1, "error: no such folder: /nowhere"),
        ("--rot x", 2, "did you mean --root?"),
        ("--root {root} --seed x", 2, "invalid int value"),
    ],
)
def test_mistakes_are_one_line_and_a_status(tmp_path, words, status, message):
    done = command(*words.replace("{root}", str(two_classes(tmp_path))).split())
    assert done.returncode == status and message in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and not (tmp_path / "annotations.json").exists()


@pytest.mark.parametrize("words", ["80", "1 2 3 4", "80 -10 10", "0 0 0", "eighty ten", "nan 1", "inf 1", ""])
def test_ratios_of_no_good(words):
    with pytest.raises(UserError, match="--ratios: wanted two or three numbers"):
        parse_settings(SplitSettings, ["--root", "x", "--ratios", *(words.split() or [""])])


def test_settings_of_a_split(tmp_path):
    words = ["--root", "x", "--ratios", "0.75", "0.25", "--group_by", "a b", "--out", "y", "--overwrite"]
    parsed = parse_settings(SplitSettings, words)
    assert (parsed.ratios, parsed.folder) == ((0.75, 0.25), Path("y"))
    (tmp_path / "again.txt").write_text(as_argfile(parsed))
    assert parse_settings(SplitSettings, [f"@{tmp_path / 'again.txt'}"]) == parsed
    assert SplitSettings(root=Path("x")).folder == Path("x")
    for values, message in (
        ({}, "--root DIR is needed"),
        ({"root": Path("x"), "seed": -1}, "--seed must not be negative"),
    ):
        with pytest.raises(UserError, match=message):
            SplitSettings(**values)
    assert all(item.metadata["help"] for item in fields(SplitSettings))


# ------------------------------------------------------------------ scoring a split


def test_a_split_is_scored(settings, tmp_path):
    from vidbench.run import evaluate_run

    root = tmp_path / "mine"
    for name, color in COLORS.items():
        for number in range(2):
            write_video(root / name / f"{number}.mkv", solid(color, 6 + number))
        (root / name / "frames").mkdir()
        for index in range(4):
            Image.fromarray(solid(color, 1)[0]).save(root / name / "frames" / f"{index}.png")
    done = split_folder(root, root, ratios=(2, 1))
    file = root / "annotations.json"
    changed = replace(settings, dataset="annotations", data_dir=None, annotations=file, split="train", name=None)
    report = evaluate_run(changed)
    assert report["folder"].endswith("/brightest-annotations-mine-train")
    assert (report["counts"]["scored"], report["metrics"]["top1"]["value"]) == (6, 1.0)
    frames = any(video.path.is_dir() for video in done if video.split == "train")
    assert frames == any("frames are taken to run at 25 a second" in note for note in report["dataset"]["notes"])
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="holds another run: annotations is"):
        evaluate_run(changed)
