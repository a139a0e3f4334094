from vidbench.data.leaks import find_leaks
from vidbench.data.records import Video

IDS = ["aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"]
VIDEOS = [Video(f"{key}_000001_000011", None, "abseiling", group=key) for key in IDS]


def annotated(root, version, ids):
    (root / version).mkdir(parents=True)
    rows = [f"abseiling,{key},5,15,train" for key in ids]
    (root / version / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows]) + "\n")


def test_another_versions_train_split_is_asked_by_youtube_id(tmp_path):
    annotated(tmp_path, "700-2020", [IDS[0], IDS[2], "ddddddddddd"])
    leaks = find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-700-2020"], [tmp_path])
    assert leaks == [{"seen": "kinetics-700-2020 train", "videos": 2, "reason": None}]


def test_no_video_in_common_is_no_leak(tmp_path):
    annotated(tmp_path, "600", ["ddddddddddd"])
    assert find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-600"], [tmp_path]) == []


def test_what_cannot_be_counted_is_said(tmp_path):
    (leak,) = find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-600"], [tmp_path])
    assert leak["videos"] is None and "annotations are not here" in leak["reason"]
    annotated(tmp_path, "600", [])
    (leak,) = find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-600"], [tmp_path])
    assert leak["videos"] is None and "is empty" in leak["reason"]
    (tmp_path / "600" / "train.csv").write_text("label,youtube_id,time_start,time_end,split\nx,y,soon,later,train\n")
    (leak,) = find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-600"], [tmp_path])
    assert leak["videos"] is None and "line 2" in leak["reason"]


def test_the_same_version_leaks_only_its_train_split():
    assert find_leaks(VIDEOS, "kinetics-400", "val", ["kinetics-400"]) == []
    assert find_leaks(VIDEOS, "kinetics-400", "train", ["kinetics-400"])[0]["videos"] == 3
    assert find_leaks(VIDEOS, "demo", "val", ["kinetics-400"]) == []
