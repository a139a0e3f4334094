"""The review of candidates without a browser: decisions in, a data set out; the widget by its methods and values."""

import base64
import csv
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from colored import color_classifier, colored_video
from conftest import moving_square, write_video
from PIL import Image

from vidbench.arguments import CandidateScanSettings
from vidbench.candidates.review import (
    Decision,
    accept,
    candidates_in,
    clip_of,
    keep_decisions,
    read_decisions,
    reject,
    relabel,
    write_reviewed,
)
from vidbench.candidates.run import scan_run
from vidbench.data.datasets import load_dataset
from vidbench.data.decode import decode
from vidbench.utils import UserError
from vidbench.visualize import widgets

LONG = {  # four videos of 30 seconds, each with a red and a blue stretch, the first with a green one
    "recordingAA": [("red", 2, 6), ("blue", 10, 14), ("green", 20, 24)],
    "recordingBB": [("blue", 3, 7), ("red", 12, 16)],
    "recordingCC": [("red", 4, 8), ("blue", 20, 24)],
    "recordingDD": [("blue", 5, 9), ("red", 18, 22)],
}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    for name, actions in LONG.items():
        colored_video(folder / "videos" / f"{name}.mp4", 30, actions)
    settings = CandidateScanSettings(
        image_classifier_checkpoint=color_classifier(folder / "colours.keras"), video_path=str(folder / "videos"),
        out_dir=folder / "found", clip_seconds=4, cuda=False,
    )  # fmt: skip
    scan_run(settings, lambda line: None)
    return folder / "found"


@pytest.fixture
def found(scanned, tmp_path) -> Path:
    """A scan's folder of a test's own."""
    return Path(shutil.copytree(scanned, tmp_path / "found"))


def opened(html: str) -> Image.Image:
    (data,) = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def all_accepted(found: Path) -> dict[str, Decision]:
    return {item.key: accept(item) for item in candidates_in(found)}


# ------------------------------------------------------------------ decisions


def test_the_scan_found_what_these_tests_are_about(found):
    listed = [(item.youtube_id, item.label, item.start, item.end) for item in candidates_in(found)]
    assert listed == [(name, *action) for name, actions in LONG.items() for action in actions]


def test_decisions_are_kept_and_read_back(found):
    first, second, third, *_ = candidates_in(found)
    assert read_decisions(found) == {}
    made = {item.key: item for item in (accept(first), reject(second), relabel(third, ' red, "very" '))}
    keep_decisions(found, made)
    with (found / "review.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"key": "recordingAA_000002_000006", "label": "red", "decision": "accept"}
    assert [(row["label"], row["decision"]) for row in rows[1:]] == [("blue", "reject"), ('red, "very"', "relabel")]
    assert read_decisions(found) == made


def test_relabelling_as_what_it_was_is_accepting(found):
    first = candidates_in(found)[0]
    assert relabel(first, "Red") == accept(first)
    for name in ("", "../up", ".hidden", "a/b"):
        with pytest.raises(UserError, match="can be no folder's name"):
            relabel(first, name)
    with pytest.raises(UserError, match="a decision is accept, reject or relabel, got 'maybe'"):
        Decision(first.key, "red", "maybe")


def test_folders_without_candidates_are_named(tmp_path, found):
    with pytest.raises(UserError, match="holds no scan"):
        candidates_in(tmp_path)
    table = found / "candidates.csv"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="lower --threshold"):
        candidates_in(found)
    (found / "review.csv").write_text("key,label\n")
    with pytest.raises(UserError, match="decision"):
        read_decisions(found)


# ------------------------------------------------------------------ the data set


def test_a_reviewed_scan_becomes_a_folder_data_set_with_sources_kept_together(found, tmp_path):
    green = next(item for item in candidates_in(found) if item.label == "green")
    made = all_accepted(found) | {green.key: relabel(green, "blue")}
    dropped = candidates_in(found)[0]
    made[dropped.key] = reject(dropped)
    videos = write_reviewed(found, made, tmp_path / "set", (50, 50))
    assert len(videos) == 8 and {video.label for video in videos} == {"red", "blue"}
    sources = {split: {video.group for video in videos if video.split == split} for split in ("train", "val")}
    assert not sources["train"] & sources["val"] and set.union(*sources.values()) == set(LONG)
    listed = {split: load_dataset("folder", split, tmp_path / "set").videos for split in ("train", "val")}
    read = {(split, video.path.stem): video.label for split, items in listed.items() for video in items}
    assert read == {(video.split, video.video_id): video.label for video in videos}
    assert all({video.label for video in items} == {"red", "blue"} for items in listed.values())
    moved = next(video for video in videos if video.video_id == green.key)
    shown = decode(moved.path, lambda num_frames, fps: np.arange(num_frames)[None])
    assert moved.label == "blue" and shown.info.num_frames == 20  # four seconds of green, under blue


def test_the_split_depends_on_the_seed_alone(found, tmp_path):
    made = all_accepted(found)
    for key in [key for key, item in made.items() if item.label == "green"]:
        made[key] = Decision(key, "green", "reject")
    backwards = dict(reversed(made.items()))
    splits = [
        {video.video_id: video.split for video in write_reviewed(found, some, tmp_path / str(place), (50, 50), seed)}
        for place, (some, seed) in enumerate([(made, 1), (backwards, 1), (made, 2), (made, 3), (made, 4)])
    ]
    assert splits[0] == splits[1] and len({tuple(sorted(split.items())) for split in splits}) > 1


def test_the_data_set_outlives_the_scan_and_spellings_are_one_class(found, tmp_path):
    made = {item.key: accept(item) for item in candidates_in(found) if item.label != "green"}
    first = next(iter(made.values()))
    made[first.key] = Decision(first.key, "RED", "relabel")
    videos = write_reviewed(found, made, tmp_path / "set", (50, 50))
    shutil.rmtree(found)
    assert {video.label for video in videos} == {"RED", "blue"}
    assert all(decode(video.path, lambda num, fps: np.arange(num)[None]).info.num_frames == 20 for video in videos)


def test_nothing_is_written_where_it_cannot_be(found, tmp_path, caplog):
    made = all_accepted(found)
    with pytest.raises(UserError, match=r"too small to split.*'green' has 1"):
        write_reviewed(found, made, tmp_path / "set")
    with pytest.raises(UserError, match="no clip was accepted"):
        write_reviewed(found, {item.key: reject(item) for item in candidates_in(found)}, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["found"]
    with pytest.raises(UserError, match="is not empty"):
        write_reviewed(found, made, found)
    made = {key: item for key, item in made.items() if item.label != "green"}
    lost = next(iter(made))
    clip_of(found, lost).unlink()
    made["elsewhere00_000001_000002"] = Decision("elsewhere00_000001_000002", "red", "accept")
    assert len(write_reviewed(found, made, tmp_path / "set", (50, 50))) == 7
    assert f"2 reviewed clips are in the scan no longer, e.g. {lost}" in caplog.text


# ------------------------------------------------------------------ the widget


def test_a_clip_plays_beside_its_curve_and_a_page_without_a_kernel_has_the_picture(found):
    first = clip_of(found, candidates_in(found)[0].key)
    write_video(first, moving_square(20, 32, 32), codec="libx264")
    review = widgets.CandidateReview(found)
    assert "Candidate 1 of 9: red, " in review.heading.value and "seconds 2 to 6 of recordingAA" in review.heading.value
    assert review.classes == ("blue", "green", "red") and "9 to go" in review.said.value
    with opened(review.shown.value) as picture:
        assert picture.n_frames > 3 and picture.width > 600
    review.go(1)
    with opened(review.shown.value) as picture:
        page = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.abs(page - (20, 20, 250)).sum(axis=-1) < 40).sum() > 200 * 200  # the clip
    data, about = review._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == review.picture
    assert about["image/png"]["alt"].startswith("Candidate 1 of 9: red")


def test_buttons_and_keys_decide_and_a_restart_goes_on(found):
    review = widgets.CandidateReview(found)
    keys = [item.key for item in review.candidates]
    review.key.value = "a"
    assert review.key.value == "" and read_decisions(found)[keys[0]].decision == "accept"
    review.buttons["Reject"].click()
    assert read_decisions(found)[keys[1]].decision == "reject" and review.current.key == keys[2]
    review.key.value = "3"  # of blue, green, red
    assert read_decisions(found)[keys[2]] == Decision(keys[2], "red", "relabel")
    assert "1 accepted, 1 rejected, 1 relabelled; 6 to go" in review.said.value
    review.key.value = "n"
    assert review.current.key == keys[4]
    again = widgets.CandidateReview(found)
    assert again.current.key == keys[3]
    again.key.value = "b"
    assert again.current.key == keys[2] and "relabelled as red" in again.heading.value and again.choice.value == "red"
    again.choice.value = "blue"
    again.buttons["Relabel as"].click()
    assert read_decisions(found)[keys[2]].label == "blue" and again.current.key == keys[3]
    again.key.value = "7"
    assert "the key &#x27;7&#x27; does nothing here" in again.told.value and len(read_decisions(found)) == 3


def test_at_the_end_the_review_says_what_comes_next(found):
    review = widgets.CandidateReview(found, classes=["red", "blue"])
    for _ in review.candidates:
        review.accept()
    assert "all are decided" in review.said.value and len(read_decisions(found)) == 9
    assert "accepted" in widgets.CandidateReview(found).heading.value  # the last one, decided as it is


def test_a_clip_that_cannot_be_shown_gets_a_message_and_can_be_rejected(found):
    first = candidates_in(found)[0]
    clip_of(found, first.key).write_bytes(b"no video")
    review = widgets.CandidateReview(found)
    assert "cannot be shown: not a readable video" in review.shown.value and 'role="alert"' in review.shown.value
    assert Image.open(io.BytesIO(review.picture)).width == 720
    review.reject()
    assert opened(review.shown.value).width > 600 and "Candidate 2 of 9" in review.heading.value


def test_without_scores_the_clip_plays_alone(found):
    shutil.rmtree(found / "scores")
    review = widgets.CandidateReview(found)
    with opened(review.shown.value) as picture:
        assert picture.width == picture.height == 240


def test_a_file_that_cannot_be_written_loses_no_place(found):
    review = widgets.CandidateReview(found)
    (found / "review.csv").mkdir()
    review.accept()
    assert "could not be written" in review.told.value and review.decisions == {}
    assert review.current == review.candidates[0]
