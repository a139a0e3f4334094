"""The demo set: what is drawn, that order pairs have no direction but the action's, and what is shipped."""

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import pytest

from vidbench.data import demo
from vidbench.data.demo.plan import plan
from vidbench.utils import UserError

SHIPPED = Path(__file__).parents[1] / "data" / "demo"
HARD = demo.ClipSpec("sitting down", 1.1, "pan", 1.2, "street", 2, True, seed=120, group=7)


def frames_of(path):
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("action", demo.ACTIONS + demo.EXTRA_ACTIONS)
def test_clip_has_the_promised_form(action):
    clip = demo.render(demo.ClipSpec(action, background="gym", seed=4, group=2))
    assert clip.frames.shape[1:] == (192, 256, 3)
    assert 2.4 <= len(clip.frames) / demo.FPS <= 3.6 + 0.5 / demo.FPS
    assert clip.times[1] == 1 / demo.FPS and clip.video.label == action and clip.video.group == "2"
    assert np.abs(np.diff(clip.frames.astype(int), axis=0)).max(axis=(1, 2, 3)).any(), "nothing moves"


def test_equal_specs_give_equal_frames():
    assert np.array_equal(demo.render(HARD).frames, demo.render(replace(HARD)).frames)


@pytest.mark.parametrize("change", [{"seed": 130}, {"group": 8}, {"light": 0.7}, {"background": "park"}, {"level": 1}])
def test_every_field_counts(change):
    one, other = demo.render(HARD).frames, demo.render(replace(HARD, **change)).frames
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("action", ["sitting down", "picking up a box"])
def test_partners_are_each_other_backwards(action, level):
    camera = ("fixed", "pan", "zoom")[level]
    spec = demo.ClipSpec(action, camera=camera, level=level, mirrored=True, seed=11 + level, group=3)
    there, back = demo.render(spec), demo.render(replace(spec, action=demo.PARTNER[action]))
    assert np.array_equal(there.frames, back.frames[::-1])
    assert there.video.label != back.video.label


def test_chances_have_no_direction_in_time():
    """Over many specs idle time, pan, zoom and the passer-by's way are as likely one way as the other."""
    before, pans, zooms = [], [], []
    for seed in range(400):
        spec = demo.ClipSpec("sitting down", camera=("pan", "zoom")[seed % 2], level=1, seed=seed)
        shot = plan(spec)
        hips = np.array([pose.hip[1] for pose in shot.poses])
        middle = (hips[0] + hips[-1]) / 2
        before.append(np.argmin(np.abs(hips - middle)) / (len(hips) - 1))
        pans.append(np.sign(shot.camera[-1, 0] - shot.camera[0, 0]))
        zooms.append(np.sign(shot.camera[-1, 2] - shot.camera[0, 2]))
    assert abs(np.mean(before) - 0.5) < 0.05  # the spread is about 0.17; half of the way down is not half of the time
    assert np.std(before) > 0.1, "idle times must vary, or the number of frames in a pose tells the class"
    assert abs(np.mean(pans[0::2])) < 0.22 and abs(np.mean(zooms[1::2])) < 0.22


def test_mirrored_is_the_clip_flipped():
    flipped = demo.render(replace(HARD, mirrored=False)).frames[:, :, ::-1]
    assert np.array_equal(demo.render(HARD).frames, flipped)


def test_unknown_values_are_refused():
    with pytest.raises(UserError, match="did you mean 'walking'"):
        demo.ClipSpec("walkin")
    with pytest.raises(UserError, match="speed"):
        demo.ClipSpec("walking", speed=40)
    with pytest.raises(UserError, match="split"):
        demo.demo_specs("test")


def test_kinds_and_partners_cover_the_actions():
    assert sorted(action for kind in demo.KINDS.values() for action in kind) == sorted(demo.ACTIONS)
    assert list(demo.ACTIONS) == sorted(demo.ACTIONS) and not set(demo.ACTIONS) & set(demo.EXTRA_ACTIONS)
    assert set(demo.PARTNER) == set(demo.KINDS["order"])
    assert all(demo.PARTNER[demo.PARTNER[action]] == action for action in demo.PARTNER)


@pytest.mark.parametrize(("split", "count"), [("val", 160), ("train", 2400)])
def test_splits_are_balanced_and_independent(split, count):
    specs = demo.demo_specs(split)
    assert specs == demo.demo_specs(split) and len(specs) == count and len(set(specs)) == count
    assert set(Counter(spec.action for spec in specs).values()) == {count // 8}
    for field in ("level", "background", "mirrored"):
        for action in demo.ACTIONS:  # no class prefers a place, a level or a side
            seen = Counter(getattr(spec, field) for spec in specs if spec.action == action)
            usual = count / 8 / (3 if field == "level" else 2 if field == "mirrored" else 4)
            assert all(abs(number - usual) <= 3 + 2.5 * usual**0.5 for number in seen.values()), (field, action)


def test_groups_share_a_recording_and_never_a_split():
    train, val = demo.demo_specs("train"), demo.demo_specs("val")
    groups = {}
    for spec in train:
        groups.setdefault(spec.group, []).append(spec)
    assert Counter(map(len, groups.values())) == {3: 800}
    for members in groups.values():
        assert len({(spec.action, spec.background, spec.level) for spec in members}) == 1
    assert not set(groups) & {spec.group for spec in val} and len({spec.group for spec in val}) == len(val)
    assert len({demo.video_id(spec) for spec in train + val}) == len(train + val)


def test_tied_backgrounds_follow_the_class():
    specs = demo.demo_specs("train", 240, tied=1.0)
    assert len({(spec.action, spec.background) for spec in specs}) == 8


def test_drawn_files_come_back(tmp_path):
    specs = demo.demo_specs("val", 8)[::3]
    paths = demo.draw_dataset(tmp_path, specs)
    assert demo.draw_dataset(tmp_path, specs) == paths
    for spec, path in zip(specs, paths, strict=True):
        drawn, read = demo.render(spec).frames, frames_of(path)
        assert read.shape == drawn.shape and psnr(drawn, read) > 24
    assert list(demo.read_attributes(tmp_path / "attributes.csv").values()) == specs
    demo.draw_dataset(tmp_path, demo.demo_specs("train", 8)[:1], "train")
    assert len(demo.read_attributes(tmp_path / "attributes.csv")) == len(specs) + 1, "rows of other splits stay"


def test_equal_specs_give_equal_files(tmp_path):
    one, other = (demo.draw_dataset(tmp_path / name, [HARD])[0].read_bytes() for name in "ab")
    assert one == other


def test_two_clips_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="seed"):
        demo.draw_dataset(tmp_path, [HARD, replace(HARD, light=1.0)])


def test_drawing_needs_no_tensorflow():
    code = "import sys, vidbench.data.demo; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shipped_clips_are_those_of_the_specs():
    drawn_by = demo.read_attributes(SHIPPED / "attributes.csv")
    assert list(drawn_by.values()) == demo.demo_specs("val")
    files = {path.stem: path for path in (SHIPPED / "val").glob("*.mp4")}
    assert set(files) == set(drawn_by)
    assert sum(path.stat().st_size for path in files.values()) < 4_000_000
    with (SHIPPED / "val.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["label", "youtube_id", "time_start", "time_end", "split"]
    named = {f"{r['youtube_id']}_{int(r['time_start']):06d}_{int(r['time_end']):06d}": r["label"] for r in rows}
    assert named == {name: spec.action for name, spec in drawn_by.items()}
    for name in sorted(files)[::20]:
        assert psnr(demo.render(drawn_by[name]).frames, frames_of(files[name])) > 24, asdict(drawn_by[name])


@pytest.mark.parametrize("name", ["model", "frames"])
def test_shipped_models_are_small_and_described(name):
    spec = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))["spec"]
    assert spec["classes"] == list(demo.ACTIONS) and spec["protocol"]["num_frames"] == 16
    assert (SHIPPED / f"{name}.keras").stat().st_size < 1_500_000
