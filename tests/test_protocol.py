import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.data.protocol import Protocol
from vidbench.utils import UserError


def test_whole_takes_the_prototype_rule_and_deals_out_several_clips():
    assert Protocol(num_frames=4).indices(10, 25.0).tolist() == [[0, 2, 5, 7]]
    dealt = Protocol(num_frames=2, clips=2).indices(8, 25.0)
    assert dealt.tolist() == [[0, 4], [2, 6]]


def test_too_short_fails_or_repeats():
    clips = Protocol("clips", num_frames=5, frame_rate=15, short_videos="fail")
    with pytest.raises(ValueError, match="too short: needs 9 frames, has 8"):
        clips.indices(8, 30.0)
    repeated = Protocol("clips", num_frames=5, frame_rate=15, short_videos="repeat").indices(6, 30.0)
    assert repeated.tolist() == [[0, 2, 4, 5, 5]]
    with pytest.raises(ValueError, match="needs 16 frames, has 3"):
        Protocol(num_frames=16, short_videos="fail").indices(3, 10.0)


def test_overrides():
    whole = Protocol(num_frames=64)
    assert whole.override(num_frames=8).num_frames == 8
    rated = whole.override(frame_rate=5.0)
    assert (rated.sampling, rated.frame_rate) == ("clips", 5.0)
    square = whole.override(resize_type="pad")
    assert (square.resize, square.resize_to, square.crop) == ("square_pad", (224, 224), None)
    assert whole.override(views=(10, 3)).views == 30
    strided = Protocol("strided", num_frames=8, stride=4).override(frame_rate=15.0)
    assert strided.target_fps == 60.0  # every 4th of 60 is 15 a second
    assert whole.override() == whole


def test_json_round_trip():
    protocol = Protocol("strided", 32, stride=2, clips=10, crops=3, resize_to=(256, 256), crop=(256, 256))
    assert Protocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


@pytest.mark.parametrize(
    "wrong",
    [
        {"sampling": "some"},
        {"num_frames": 0},
        {"crops": 2},
        {"sampling": "clips"},
        {"sampling": "strided"},
        {"resize": "exact", "resize_to": (64, 64), "crop": (112, 112)},
        {"crops": 3, "crop": None},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(UserError):
        Protocol(**wrong)


RANDOM = {
    "whole": Protocol(sampling="whole", num_frames=8),
    "clips": Protocol(sampling="clips", num_frames=8, frame_rate=15, short_videos="fail"),
    "strided": Protocol(sampling="strided", num_frames=8, stride=2),
}


@pytest.mark.parametrize("name", RANDOM)
@given(
    num_frames=st.integers(1, 300),
    fps=st.sampled_from([7.5, 12.5, 23.976, 25.0, 29.97, 50.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_clips_of_every_sampling(name, num_frames, fps, seed):
    protocol = RANDOM[name]
    drawn = protocol.random_indices(num_frames, fps, np.random.default_rng(seed))
    assert drawn.shape == (8,) and drawn.dtype == np.int64
    assert (np.diff(drawn) >= 0).all() and drawn[0] >= 0 and drawn[-1] < num_frames
    assert np.array_equal(drawn, protocol.random_indices(num_frames, fps, np.random.default_rng(seed)))
    if name == "clips" and num_frames >= protocol.frames_needed(fps):
        assert np.diff(drawn).min() >= np.floor(fps / 15 - 1e-3) and np.diff(drawn).max() <= np.ceil(fps / 15 + 1e-3)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("whole", [0, 0, 0, 1, 1, 1, 2, 2]),  # (3 × i) // 8
        ("clips", [0, 2, 2, 2, 2, 2, 2, 2]),
        ("strided", [0, 2, 2, 2, 2, 2, 2, 2]),  # 0, 15/7, …
    ],
)
def test_short_videos_repeat_in_training_whatever_the_protocol_says(name, want):
    protocol, rng = RANDOM[name], np.random.default_rng(0)
    assert protocol.random_indices(3, 30.0, rng).tolist() == want
    with pytest.raises(ValueError, match=r"too short: needs \d+ frames, has 3"):
        protocol.random_indices(3, 30.0, rng, short_videos="fail")


def test_a_run_starts_anywhere_on_the_grid():
    # 24 frames at 30 fps are 12 at 15; runs of 8 start at 0, 2, 4, 6, 8
    rng = np.random.default_rng(0)
    runs = [RANDOM["clips"].random_indices(24, 30.0, rng) for _ in range(100)]
    assert {int(run[0]) for run in runs} == {0, 2, 4, 6, 8} and all((np.diff(run) == 2).all() for run in runs)


def test_a_clip_in_seconds():
    assert RANDOM["clips"].frames_in(2) == 30 and RANDOM["strided"].frames_in(2) == 30
    assert RANDOM["strided"].override(frame_rate=10).frames_in(1.5) == 15
    with pytest.raises(UserError, match="needs a frame rate"):
        RANDOM["whole"].frames_in(2)
