import json

import pytest

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
