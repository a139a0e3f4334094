import numpy as np
import pytest

from vidbench.data.records import Clip, Video


def test_a_video_checks_its_part():
    assert Video("a", None, start_seconds=1.0, end_seconds=2.0).group is None
    with pytest.raises(ValueError, match="must lie after"):
        Video("a", None, start_seconds=2.0, end_seconds=2.0)
    with pytest.raises(ValueError, match="negative"):
        Video("a", None, start_seconds=-1.0)


def test_a_clip_checks_its_frames():
    frames, times = np.zeros((2, 4, 6, 3), np.uint8), np.array([0.0, 0.5])
    assert "frames (2, 4, 6, 3), 0.00–0.50 s" in repr(Clip(frames, times, Video("a", None)))
    with pytest.raises(ValueError, match="uint8 RGB"):
        Clip(frames.astype(np.float32), times, Video("a", None))
    with pytest.raises(ValueError, match="one time per frame"):
        Clip(frames, times[:1], Video("a", None))
