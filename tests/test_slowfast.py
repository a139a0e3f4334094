"""What makes SlowFast itself: which frames the slow pathway sees, and that both pathways count."""

import numpy as np
import pytest

from vidbench.models import build_model
from vidbench.models.slowfast import SlowFrames


@pytest.mark.parametrize(
    ("num_frames", "alpha", "wanted"),
    [
        (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),  # 31 / 7 = 4.43 apart, fractions cut off
        (32, 8, [0, 10, 20, 31]),
        (16, 8, [0, 15]),
        (8, 8, [0]),
        (13, 4, [0, 6, 12]),
    ],
)
def test_the_slow_pathway_s_frames(num_frames, alpha, wanted):
    clip = np.arange(num_frames, dtype=np.float32).reshape(1, -1, 1, 1, 1)
    assert np.asarray(SlowFrames(alpha)(clip)).ravel().tolist() == wanted


def test_frames_that_only_the_fast_pathway_sees_count():
    network = build_model("slowfast_r18", 3)
    clip = np.random.default_rng(0).standard_normal((1, 16, 32, 32, 3)).astype(np.float32)
    changed = clip.copy()
    changed[:, 1:15] = 0  # the slow pathway sees frames 0 and 15
    before, after = (np.asarray(network(frames, training=False)) for frames in (clip, changed))
    assert np.abs(before - after).max() > 1e-3 * before.std()


def test_the_fast_pathway_is_an_eighth_as_wide():
    network = build_model("slowfast_r50_8x8", 3)
    for slow, fast in (("slow_stem_conv", "fast_stem_conv"), ("slow4_2_c_conv", "fast4_2_c_conv")):
        assert network.get_layer(slow).filters == 8 * network.get_layer(fast).filters
