import json
from pathlib import Path

import pytest
from conftest import moving_square, write_video

from vidbench.data.datasets import DATASETS, dataset, load_dataset, select, shard_of
from vidbench.data.datasets.tables import kinetics_rows
from vidbench.data.records import Video
from vidbench.utils import UserError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def ids(found):
    return [video.video_id for video in found.videos]


# ------------------------------------------------------------------ folder


def test_folder_of_splits(tmp_path):
    touch(tmp_path, "val/run/a.mp4", "val/run/deep/b.avi", "val/sit (down)/c@!.mkv", "train/run/z.mp4")
    touch(tmp_path, "val/run/notes.txt", "val/run/.hidden.mp4", "val/run/LICENSE", "val/.git/x.mp4", "val/run/a.json")
    found = load_dataset("folder", "val", tmp_path)
    assert ids(found) == ["run/a.mp4", "run/deep/b.avi", "sit (down)/c@!.mkv"]
    assert [video.label for video in found.videos] == ["run", "run", "sit (down)"]
    assert found.classes == ("run", "sit (down)") and found.population == {"found": 3}


def test_folder_of_classes_without_splits_and_loose_files(tmp_path):
    assert ids(load_dataset("folder", "val", touch(tmp_path / "a", "run/a.mp4"))) == ["run/a.mp4"]
    loose = load_dataset("folder", "val", touch(tmp_path / "b", "a.mp4", "b.webm", "read.md"))
    assert ids(loose) == ["a.mp4", "b.webm"] and {video.label for video in loose.videos} == {None}


def test_a_split_that_is_not_there_is_not_taken_for_a_class(tmp_path):
    with pytest.raises(UserError, match=r"unknown split 'val'.*choose from train"):
        load_dataset("folder", "val", touch(tmp_path, "train/run/a.mp4"))


# ------------------------------------------------------------------ frames and csv


def test_frames_with_ground_truth(tmp_path):
    touch(tmp_path, "x_images/one/f0.jpg", "x_images/one/f1.jpg", "x_images/two/f0.PNG")
    (tmp_path / "gt.csv").write_text("youtube_id,folder_name,label\nA,one,run\nB,two,sit\nC,three,run\n")
    found = load_dataset("frames", "val", tmp_path)
    assert ids(found) == ["A", "B", "C"] and found.population == {"annotations": 3, "found": 2}
    assert [video.path.name for video in found.videos] == ["one", "two", "three"]
    (tmp_path / "gt.csv").unlink()
    assert ids(load_dataset("frames", "val", tmp_path)) == ["x_images/one", "x_images/two"]


def test_csv_with_parts_groups_and_splits(tmp_path):
    touch(tmp_path, "long.mp4")
    table = tmp_path / "mine.csv"
    table.write_text(
        "path;label;start;end;group;split\nlong.mp4;run;0;2.5;g1;val\nlong.mp4;sit;2.5;;g1;val\ngone.mp4;sit;;;g2;val\n"
        "long.mp4;run;9;10;g1;train\n"
    )
    found = load_dataset("csv", "val", csv_path=table)
    assert ids(found) == ["gone.mp4", "long.mp4#0-2.5", "long.mp4#2.5-"]
    gone, first, second = found.videos
    assert (first.start_seconds, first.end_seconds, first.group) == (0.0, 2.5, "g1")
    assert second.end_seconds is None and not gone.path.exists() and gone.label == "sit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nrun\n", "lacks the column path; its first line names label"),
        ("path,start\na.mp4,soon\n", "line 2: 'soon' is not a number"),
        ("path,start,end\na.mp4,5,4\n", "line 2: .* must lie after"),
        ("path,label\na.mp4,x\na.mp4,y\n", "a.mp4 stands twice"),
        ("path,label\n", "no videos"),
    ],
)
def test_csv_that_is_no_good(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_dataset("csv", "val", csv_path=tmp_path / "x.csv")


# ------------------------------------------------------------------ kinetics


def kinetics_root(tmp_path, *names, csv="label,youtube_id,time_start,time_end,split,is_cc\n"):
    root = touch(tmp_path / "val", *names)
    root.mkdir(exist_ok=True)
    (root / "val.csv").write_text(csv)
    return root


def test_kinetics_joins_by_id_start_and_end_in_any_layout(tmp_path):
    names = (
        "part_0/abcdefghijk_000001_000011.mp4",
        "a-b_c-d_e-f_000005_000015.mp4",
        "x/y/._abcdefghijk_000001_000011.mp4",
    )
    csv = (
        'label,youtube_id,time_start,time_end,split,is_cc\n"air drumming",abcdefghijk,1,11,val,0\n'
        "abseiling,a-b_c-d_e-f,5,15,val,0\nabseiling,abcdefghijk,20,30,val,0\n"
    )
    found = load_dataset("kinetics", "val", kinetics_root(tmp_path, *names, csv=csv))
    assert ids(found) == ["a-b_c-d_e-f_000005_000015", "abcdefghijk_000001_000011", "abcdefghijk_000020_000030"]
    assert [video.label for video in found.videos] == ["abseiling", "air drumming", "abseiling"]
    assert [video.path is None for video in found.videos] == [False, False, True]
    assert len(found.classes) == 400 and found.population == {"annotations": 3, "found": 2}
    assert ids(load_dataset("kinetics", "val", tmp_path, population="found")) == ids(found)[:2]


def test_kinetics_lists_what_the_manifest_verified(tmp_path):
    csv = (
        "label,youtube_id,time_start,time_end,split\nabseiling,abcdefghijk,1,11,val\nabseiling,abcdefghijk,20,30,val\n"
    )
    root = kinetics_root(tmp_path, "abcdefghijk_000001_000011.mp4", csv=csv)
    (root / "manifest.csv").write_text("key,status\nabcdefghijk_000001_000011,ok\nabcdefghijk_000040_000050,failed\n")
    found = load_dataset("kinetics", "val", root)
    assert ids(found) == ["abcdefghijk_000001_000011"]
    assert found.population == {"annotations": 2, "found": 1, "verified": 1, "never fetched": 1}
    assert len(load_dataset("kinetics", "val", root, population="annotations").videos) == 2


def test_kinetics_600_prefers_its_complete_txt(tmp_path):
    root = kinetics_root(tmp_path, csv="label,youtube_id,time_start,time_end,split\nabseiling,abcdefghijk,1,11,val\n")
    (root / "val.txt").write_text("abseiling\tabcdefghijk\t1\t11\tval\nzumba\tabcdefghij2\t3\t13\tval\n")
    found = load_dataset("kinetics", "val", root, version="600")
    assert [video.label for video in found.videos] == ["zumba", "abseiling"] and len(found.classes) == 600


def test_kinetics_700_takes_labels_from_class_folders(tmp_path):
    root = touch(tmp_path / "val", "zumba/abcdefghijk_000001_000011.mp4", "part_3/abcdefghij2_000001_000011.mp4")
    found = load_dataset("kinetics", "val", root, version="700-2020")
    assert [video.label for video in found.videos] == [None, "zumba"] and "labels come from folders" in found.notes[0]


def test_an_unlabelled_test_split(tmp_path):
    root = touch(tmp_path / "test", "abcdefghijk_000001_000011.mp4")
    (root / "test.csv").write_text("youtube_id,time_start,time_end,split\nabcdefghijk,1,11,test\n")
    found = load_dataset("kinetics", "test", root, version="600")
    assert [video.label for video in found.videos] == [None] and found.classes == ()


def test_kinetics_rows_without_a_header_and_with_nonsense(tmp_path):
    (tmp_path / "a.csv").write_text("abcdefghijk,1,11,test\n")
    assert list(kinetics_rows(tmp_path / "a.csv")) == [("abcdefghijk_000001_000011", None)]
    (tmp_path / "b.csv").write_text("label,youtube_id,time_start,time_end,split\nx,abcdefghijk,one,11,val\n")
    with pytest.raises(UserError, match="line 2: no youtube_id, time_start and time_end"):
        list(kinetics_rows(tmp_path / "b.csv"))


# ------------------------------------------------------------------ UCF-101, HMDB51


def test_ucf101_folds_and_groups(tmp_path):
    touch(tmp_path, "Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g08_c02.avi")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "testlist02.txt").write_text(
        "Archery/v_Archery_g01_c01.avi\nArchery/v_Archery_g01_c09.avi\n"
    )
    (tmp_path / "splits" / "trainlist02.txt").write_text("Archery/v_Archery_g08_c02.avi 3\n")
    val = load_dataset("ucf101", "val", tmp_path, fold=2)
    assert ids(val) == ["v_Archery_g01_c01", "v_Archery_g01_c09"] and val.population["found"] == 1
    assert {video.group for video in val.videos} == {"Archery_g01"} and "test list of fold 2" in val.notes[0]
    train = load_dataset("ucf101", "train", tmp_path, fold=2)
    assert ids(train) == ["v_Archery_g08_c02"] and train.videos[0].label == "Archery"
    with pytest.raises(UserError, match=r"no testlist01.txt"):
        load_dataset("ucf101", "val", tmp_path, fold=1)


def test_hmdb51_marks_and_groups(tmp_path):
    touch(tmp_path, "wave/RATRACE_wave_f_nm_np1_fr_goo_37.avi")
    (tmp_path / "wave_test_split1.txt").write_text(
        "RATRACE_wave_f_nm_np1_fr_goo_37.avi 2 \nOther_wave_u_cm_np1_fr_med_1.avi 1 \n"
        "Unused_wave_f_nm_np1_fr_goo_0.avi 0 \n"
    )
    val = load_dataset("hmdb51", "val", tmp_path)
    assert ids(val) == ["wave/RATRACE_wave_f_nm_np1_fr_goo_37"] and val.videos[0].group == "RATRACE"
    assert val.videos[0].path is not None
    assert ids(load_dataset("hmdb51", "train", tmp_path)) == ["wave/Other_wave_u_cm_np1_fr_med_1"]


@pytest.mark.assets
def test_the_official_splits_have_their_published_sizes(assets):
    annotations = assets / "annotations"
    sizes = {"train": (9537, 9586, 9624), "test": (3783, 3734, 3696)}
    for split, counts in sizes.items():
        for fold, size in enumerate(counts, start=1):
            assert len(load_dataset("ucf101", split, annotations / "ucf101_splits", fold=fold).videos) == size
    for fold in (1, 2, 3):
        assert len(load_dataset("hmdb51", "test", annotations / "hmdb51_splits", fold=fold).videos) == 1530
        assert len(load_dataset("hmdb51", "train", annotations / "hmdb51_splits", fold=fold).videos) == 3570


@pytest.mark.assets
def test_published_kinetics_tables_are_read(assets):
    tables = assets / "annotations" / "kinetics"
    rows = {name: list(kinetics_rows(tables / f"kinetics-{name}.csv")) for name in ("400_val", "400_test", "600_val")}
    assert [len(rows[name]) for name in rows] == [19906, 38685, 30000]
    assert len({key for key, _ in rows["600_val"]}) == 30000 and len({key[:11] for key, _ in rows["600_val"]}) == 29994
    assert {label for _, label in rows["400_test"]} == {None}


# ------------------------------------------------------------------ selection


def videos(count=50):
    return [Video(f"v{n}", None, "ab"[n % 2]) for n in range(count)]


def test_the_seeded_order_depends_on_ids_alone():
    few, many = select(videos(), num_videos=5), select(reversed(videos()), num_videos=20)
    assert [v.video_id for v in few] == [v.video_id for v in many[:5]]
    assert [v.video_id for v in select(videos(), num_videos=5, seed=1)] != [v.video_id for v in few]
    present = [video for video in videos() if video.video_id not in {"v3", "v7"}]
    whole = [v.video_id for v in select(videos()) if v.video_id not in {"v3", "v7"}]
    assert [v.video_id for v in select(present)] == whole


def test_shards_share_out_the_order():
    whole = [v.video_id for v in select(videos(11))]
    shards = [[v.video_id for v in shard_of(select(videos(11)), (i, 3))] for i in (1, 2, 3)]
    assert shards[0] == whole[0::3] and shards[1] == whole[1::3] and shards[2] == whole[2::3]


def test_classes_and_keys_filter():
    assert {video.label for video in select(videos(), classes=["A"])} == {"a"}
    assert {v.video_id for v in select(videos(), keys=["v2", "v2", "v4"])} == {"v2", "v4"}
    with pytest.raises(UserError, match=r"unknown class 'c'.*a, b"):
        select(videos(), classes=["a", "c"])
    with pytest.raises(UserError, match=r"1 of 2 listed keys are no videos here, e\.g\. 'w'"):
        select(videos(), keys=["v1", "w"])


def test_a_label_map_renames(tmp_path):
    touch(tmp_path / "d", "golf/a.mp4", "run/b.mp4")
    (tmp_path / "map.csv").write_text("from,to\nGOLF,golf putting\n")
    found = load_dataset("folder", "val", tmp_path / "d", label_map=tmp_path / "map.csv")
    assert found.classes == ("golf putting", "run") and found.videos[0].label == "golf putting"


def test_unknown_names_and_missing_folders(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'kinetic'; did you mean 'kinetics'"):
        load_dataset("kinetic")
    with pytest.raises(UserError, match="no such folder"):
        load_dataset("folder", "val", tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs --data-dir"):
        load_dataset("folder")
    with pytest.raises(UserError, match="no videos in split"):
        load_dataset("folder", "val", tmp_path)
    with pytest.raises(UserError, match="unknown Kinetics version '500'"):
        load_dataset("kinetics", "val", tmp_path, version="500")


def test_a_name_is_registered_once():
    assert set(DATASETS) == {"demo", "kinetics", "ucf101", "hmdb51", "folder", "frames", "csv", "annotations"}
    with pytest.raises(ValueError, match="already registered"):
        dataset("demo")(lambda: None)


def test_a_real_video_of_a_listing_decodes(tmp_path):
    write_video(tmp_path / "val" / "run" / "a.mkv", moving_square(3))
    from vidbench.data.decode import probe

    assert probe(load_dataset("folder", "val", tmp_path).videos[0].path).num_frames == 3


def test_linked_folders_are_entered_once(tmp_path):
    touch(tmp_path / "elsewhere", "a.mp4")
    touch(tmp_path / "data", "run/b.mp4")
    (tmp_path / "data" / "sit").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "run" / "loop").symlink_to(tmp_path / "data")
    assert ids(load_dataset("folder", "val", tmp_path / "data")) == ["run/b.mp4", "sit/a.mp4"]


def test_frame_folders_of_one_name_are_told_apart_by_their_path(tmp_path):
    touch(tmp_path, "a/clip/0.jpg", "b/clip/0.jpg", "b/clip/._0.jpg")
    assert ids(load_dataset("frames", "val", tmp_path)) == ["a/clip", "b/clip"]
    (tmp_path / "gt.csv").write_text("youtube_id,folder_name,label,split\nA,a/clip,run,val\nB,b/clip,sit,train\n")
    (video,) = load_dataset("frames", "val", tmp_path).videos
    assert (video.video_id, video.path) == ("A", tmp_path / "a" / "clip")
    (tmp_path / "gt.csv").write_text("youtube_id,folder_name,label\nA,clip,run\n")
    with pytest.raises(UserError, match="line 2: 2 folders are named 'clip'"):
        load_dataset("frames", "val", tmp_path)
    (tmp_path / "other.csv").write_text("")
    with pytest.raises(UserError, match="several tables"):
        load_dataset("frames", "val", tmp_path)


def test_rows_without_a_split_would_be_in_every_split(tmp_path):
    (tmp_path / "x.csv").write_text("path,label,split\na.mp4,run,val\nb.mp4,run,\n")
    with pytest.raises(UserError, match="line 3: the split is empty"):
        load_dataset("csv", "val", csv_path=tmp_path / "x.csv")


def test_tables_may_have_a_mark_at_their_beginning_short_rows_and_line_breaks_in_cells(tmp_path):
    (tmp_path / "x.csv").write_bytes('\ufeffpath,label\n"a\nb.mp4",run\nc.mp4\n'.encode())
    found = load_dataset("csv", "val", csv_path=tmp_path / "x.csv")
    assert ids(found) == ["a\\nb.mp4", "c.mp4"] and [video.label for video in found.videos] == ["run", None]


def test_a_replacement_stands_for_its_corrupt_original(tmp_path):
    for key in ("aaaaaaaaaaa_000001_000011.mp4", "zzzzzzzzzzz_000001_000011.mp4"):
        kinetics_root(tmp_path, key, f"replacement_for_corrupted_k400/{key}")
    found = load_dataset("kinetics", "val", tmp_path / "val", population="found")
    assert {video.path.parent.name for video in found.videos} == {"replacement_for_corrupted_k400"}


def test_accents_may_be_composed_or_not(tmp_path):
    touch(tmp_path, "cafe\u0301/a.mp4")
    videos_of = load_dataset("folder", "val", tmp_path).videos
    assert len(select(videos_of, classes=["caf\u00e9"])) == 1


def test_a_list_and_classes_together(tmp_path):
    assert {v.video_id for v in select(videos(), keys=["v1", "v2"], classes=["a"])} == {"v2"}


def test_a_link_to_nothing_is_listed_as_missing(tmp_path):
    touch(tmp_path, "run/a.mp4")
    (tmp_path / "run" / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    assert ids(load_dataset("folder", "val", tmp_path)) == ["run/a.mp4", "run/b.mp4"]


def test_mistakes_in_tables_are_named(tmp_path, caplog):
    touch(tmp_path / "d", "walk/a.mp4")
    (tmp_path / "map.csv").write_text("from,to\nwlak,walking\n")
    load_dataset("folder", "val", tmp_path / "d", label_map=tmp_path / "map.csv")
    assert "map.csv: the data has no label 'wlak'" in caplog.text
    (tmp_path / "x.csv").write_text("path,lable,split\na.mp4,run,train\n")
    with pytest.raises(UserError, match="has no rows of split 'val'; it has train: choose one of them"):
        load_dataset("csv", "val", csv_path=tmp_path / "x.csv")
    assert "a column named label" in load_dataset("csv", "train", csv_path=tmp_path / "x.csv").notes[0]
    with pytest.raises(UserError, match="--kinetics-version 700-2020"):
        load_dataset("kinetics", "val", tmp_path, version="700")


# ------------------------------------------------------------------ annotations of split.py


def annotations(tmp_path, *rows, **changes) -> Path:
    record = {"schema": 1, "root": "data", "classes": ["run", "sit"], "videos": list(rows)} | changes
    (tmp_path / "annotations.json").write_text(json.dumps(record))
    return tmp_path / "annotations.json"


def row(path="run/a.mp4", split="val", **more):
    return {"path": path, "label": "run", "group": None, "split": split} | more


def test_annotations_of_a_split(tmp_path):
    touch(tmp_path, "data/run/a.mp4", "moved/run/b.mp4", "data/clip/0.jpg")
    file = annotations(
        tmp_path, row(start=0, end=2.5, group="g"), row(start=2.5), row("run/b.mp4"), row("clip"), row("c", "train")
    )
    found = load_dataset("annotations", "val", annotations=file)
    assert ids(found) == ["clip", "run/a.mp4#0-2.5", "run/a.mp4#2.5-", "run/b.mp4"]
    clip, first, second, missing = found.videos
    assert (first.start_seconds, first.end_seconds, first.group, second.end_seconds) == (0, 2.5, "g", None)
    assert missing.path is None and clip.path.is_dir() and found.population == {"annotations": 4, "found": 3}
    assert found.classes == ("run", "sit")
    moved = load_dataset("annotations", "val", tmp_path / "moved", annotations=file)
    assert [video.video_id for video in moved.videos if video.path] == ["run/b.mp4"]


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ([row()], {"schema": 2}, "has schema 2, this version of vidbench reads 1"),
        ([row(split="train")], {}, "has no videos of split 'val'; it has train: choose one of them"),
        ([row(), row()], {}, "run/a.mp4 stands twice"),
        ([row(start=3, end=1)], {}, "must lie after start_seconds"),
        ([row(start="soon")], {}, "is no annotations file of split.py"),
        ([row(path=3)], {}, "is no annotations file of split.py"),
        ([{"path": "a"}], {}, "lacks 'label'"),
        ([], {"videos": None}, "is no annotations file of split.py"),
        ([3], {}, "is no annotations file of split.py"),
    ],
)
def test_annotations_of_no_good(tmp_path, rows, changes, message):
    with pytest.raises(UserError, match=message):
        load_dataset("annotations", "val", annotations=annotations(tmp_path, *rows, **changes))


def test_annotations_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="needs --annotations FILE"):
        load_dataset("annotations", "val")
    with pytest.raises(UserError, match="no such file"):
        load_dataset("annotations", "val", annotations=tmp_path / "x.json")
    for text in ("{", "[]", "\xff"):
        (tmp_path / "x.json").write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=r"x\.json is no annotations file of split\.py"):
            load_dataset("annotations", "val", annotations=tmp_path / "x.json")
