"""Every reason why an accuracy may not stand beside the published one, provoked once."""

import copy

import pytest

from vidbench.data.protocol import Protocol
from vidbench.faults import fault_reports
from vidbench.report.verdict import judgement, verdict, verdict_line

OWN = Protocol(sampling="clips", num_frames=16, frame_rate=15, clips=5, resize="exact", resize_to=(128, 171),
               crop=(112, 112), short_videos="fail")  # fmt: skip
VIDEO = {"top1": 67.463, "top5": 86.2, "dataset": "kinetics-400", "split": "val", "level": "video", "views": "5x1"}
CLIP = VIDEO | {"top1": 57.5, "level": "clip", "views": "1x1"}


def report(**changes) -> dict:
    """A report under the published circumstances; `changes` are paths such as model__name."""
    sources = {name: {"q50": value} for name, value in (("short_side", 256.0), ("fps", 30.0), ("seconds", 10.0))}
    whole = {
        "model": {
            "name": "r2plus1d_18-kinetics400", "classes": 400, "published": [VIDEO, CLIP], "overridden": {},
            "value_range": [0.0, 1.0],
        },
        "dataset": {"name": "kinetics", "id": "kinetics-400", "classes": 400, "leaks": [], "sources": sources},
        "split": "val",
        "settings": {"precision": "float32", "frame_order": "normal", "distinct_frames": None, "classes": [],
                     "label_map": None},
        "protocol": OWN.to_dict(),
        "counts": {"population": {"annotations": 19_906, "found": 19_881}, "scored": 19_874, "listed": 19_906,
                   "repeated": 0, "unlabelled": 0},
        "metrics": {"top1": {"value": 0.671, "ci95": [0.664, 0.677], "level": "video", "chance": 1 / 400}},
    }  # fmt: skip
    whole = copy.deepcopy(whole)
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = whole
        for name in outer:
            place = place[name]
        place[last] = value
    return whole | verdict(whole)


def test_the_same_circumstances_are_comparable():
    told = report()
    assert told["comparable"] and not told["reasons"] and told["published"] == VIDEO
    assert verdict_line(told) == (
        "published 67.463 (kinetics-400 val, video level, 5 clips) | here 67.10 [66.4, 67.7] on 19,874 of 19,906 | "
        "consistent"
    )


@pytest.mark.parametrize(("low", "high", "words"), [(0.60, 0.61, "LOWER"), (0.70, 0.72, "HIGHER")])
def test_another_accuracy_is_said(low, high, words):
    assert words in judgement(report(metrics__top1__ci95=[low, high]))


def protocol(**changes) -> dict:
    """Changes that replace the model's protocol by a user's wishes."""
    return {
        "protocol": OWN.to_dict() | changes,
        "model__overridden": {"protocol": OWN.to_dict()},
    }


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        (protocol(clips=3), ["3 clips instead of 5"]),
        (protocol(clips=5, crops=3), ["3 crops instead of 1"]),
        (protocol(frame_rate=10), ["10 frames a second instead of 15"]),
        (protocol(num_frames=32), ["32 frames instead of 16"]),
        (protocol(sampling="whole"), ["frames of the whole video instead of frames at 15 a second"]),
        (
            protocol(resize="square_pad", resize_to=(112, 112), crop=None),
            ["frames padded to a square, then 112×112 instead of scaled to 128×171 and cut to 112×112"],
        ),
        (
            protocol(short_videos="repeat") | {"counts__repeated": 7},
            ["7 short videos were repeated instead of left out"],
        ),
        (
            {"model__overridden": {"value_range": [0.0, 1.0]}, "model__value_range": [-1.0, 1.0]},
            ["pixels in -1…1 instead of 0…1"],
        ),
        ({"model__overridden": {"classes": True}}, ["other class names than the model's own (--model-classes)"]),
        ({"settings__precision": "bfloat16"}, ["bfloat16 instead of float32"]),
        ({"settings__frame_order": "reversed"}, ["frames reversed"]),
        ({"settings__distinct_frames": 4}, ["only 4 distinct frames"]),
        ({"split": "test", "counts__scored": 39_000}, ["split test instead of val"]),
        ({"dataset__id": "kinetics-600"}, ["data set kinetics-600 instead of kinetics-400"]),
        ({"counts__scored": 200}, ["200 of 19,906 videos"]),
        ({"counts__unlabelled": 19_000}, ["874 of 19,906 videos"]),
        ({"counts__population": {"annotations": 874}, "counts__scored": 874}, ["874 of 19,906 videos"]),
        (
            {"counts__population": {"annotations": 19_906, "excluded": 8}, "counts__scored": 19_898},
            ["8 videos excluded (--exclude-ids)"],
        ),
        ({"settings__label_map": "names.csv"}, ["labels renamed (--label-map)"]),
        (
            {"counts__population": {"annotations": 0, "found": 19_874}},
            ["no annotations on this disk: nobody knows how much of the split was scored"],
        ),
        ({"settings__classes": ["abseiling"]}, ["1 of 400 classes"]),
        ({"dataset__classes": 600}, ["data of 600 classes, a model of 400"]),
        (
            {"counts__population": {"annotations": 19_906, "outside the model's classes": 99}},
            ["99 videos left out, because the model does not know their class"],
        ),
        (
            {"dataset__sources__short_side": {"q50": 96.0}},
            ["sources 96 px (median short side), below the model's resize to 128"],
        ),
        (
            {"dataset__sources__fps": {"q50": 10.0}},
            ["sources of 10 frames a second (median), below the protocol's 15"],
        ),
        (
            {"dataset__leaks": [{"seen": "kinetics-700-2020 train", "videos": 12_345, "reason": None}]},
            [
                "12,345 videos stand in kinetics-700-2020 train, which the model has seen "
                "(--exclude-ids leaves them out)"
            ],
        ),
        (
            {"dataset__leaks": [{"seen": "kinetics-600 train", "videos": None, "reason": "its annotations are gone"}]},
            [
                "it is not known how many videos stand in kinetics-600 train, which the model has seen: "
                "its annotations are gone"
            ],
        ),
        (
            {"metrics__top1__value": 0.003, "metrics__top1__ci95": [0.0022, 0.0038]},
            ["no better than guessing: are the class names in the outputs' order?"],
        ),
        ({"metrics": {}}, ["no accuracy"]),
        ({"counts__pending": 12}, ["partial: 12 videos are still to be scored"]),
        ({"model__published": []}, ["nothing was published of r2plus1d_18-kinetics400"]),
    ],
)
def test_each_reason(changes, reasons):
    told = report(**changes)
    assert told["reasons"] == reasons and not told["comparable"]
    assert all(reason in verdict_line(told) for reason in reasons)


def test_a_clip_is_compared_with_the_clip_level():
    told = report(**protocol(clips=1))
    assert told["published"] == CLIP and told["comparable"]
    only_video = report(**protocol(clips=1), model__published=[VIDEO])
    assert only_video["reasons"] == ["clip level instead of video level", "1 clip instead of 5"]


def test_few_videos_are_not_called_guessing():
    told = report(metrics__top1__value=0.0, metrics__top1__ci95=[0.0, 0.7], counts__scored=2)
    assert told["reasons"] == ["2 of 19,906 videos"]


def test_six_single_mistakes_cost_accuracy_and_those_that_can_be_seen_are_named(tmp_path):
    right, *faults = fault_reports(tmp_path).values()
    assert right["comparable"] and judgement(right) == "consistent"
    assert all(fault["metrics"]["top1"]["value"] < right["metrics"]["top1"]["value"] for fault in faults)
    channels, values, squeezed, rate, clip, order = (fault["reasons"] for fault in faults)
    assert channels == [] and "LOWER" in judgement(faults[0])  # nothing of it is in the settings
    assert values == ["pixels in -1…1 instead of 0…1"]
    assert squeezed == ["frames cut to a square, then 96×128 instead of scaled to 96×128"]
    assert "frames at 30 a second instead of frames of the whole video" in rate
    assert "clip level instead of video level" in clip
    assert "other class names than the model's own (--model-classes)" in order
    assert "no better than guessing: are the class names in the outputs' order?" in order
